# shellcheck shell=bash
# Sourced by every script that runs Python, Maven or Flink: the one place that says which Java and
# which Python are used. Sets JAVA_HOME only where a fitting Java is found; scripts/setup insists.

MILLRACE_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export MILLRACE_ROOT

# Prints the home of a Java that Flink 2 runs on: 17 or 11, else 21, which Flink calls experimental; a JDK
# where there is one. The machine's default may be newer, and what JAVA_HOME names may lack a compiler.
millrace_java_home() {
    millrace_java javac 17 11 || millrace_java javac 21 || millrace_java java 17 11 || millrace_java java 21
}
millrace_java() { # TOOL VERSION...
    local tool=$1 home on_path said version
    shift
    on_path=$(command -v java || true)
    [ -z "$on_path" ] || on_path=$(dirname "$(dirname "$(readlink -f "$on_path")")")
    for home in "${JAVA_HOME:-}" /usr/lib/jvm/* "$on_path"; do
        [ -n "$home" ] && [ -x "$home/bin/$tool" ] && [ -x "$home/bin/java" ] || continue
        said=$("$home/bin/java" -version 2>&1) || continue
        for version; do
            case "$said" in *"version \"$version"[.\"]*) echo "$home" && return ;; esac
        done
    done
    return 1
}

if JAVA_HOME=$(millrace_java_home) && [ -n "$JAVA_HOME" ]; then
    export JAVA_HOME PATH="$JAVA_HOME/bin:$PATH"
else
    unset JAVA_HOME
fi

# Thread mode finds pemja through the first `python` on PATH, in every Flink process.
export PATH="$MILLRACE_ROOT/.venv/bin:$PATH"
# The folders of the checkout are packages: for scripts, tests and the Python inside a task manager.
export PYTHONPATH="$MILLRACE_ROOT${PYTHONPATH:+:$PYTHONPATH}"
export MILLRACE_JARS="$MILLRACE_ROOT/.cache/jars"
# TensorFlow's notes on the processor it was built for are not for our logs.
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
# Compiled files are wanted: without them each process that imports TensorFlow takes ten seconds longer.
unset PYTHONDONTWRITEBYTECODE
