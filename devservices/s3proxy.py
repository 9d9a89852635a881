"""An S3 server that keeps its buckets in a folder: s3proxy, from its locked jars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from devservices.process import Daemon, free_port, jars, java

LOGGING = """<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"""


class S3Proxy(Daemon):
    """`with S3Proxy() as s3: s3.client().create_bucket(Bucket="models")`."""

    # Known to nobody but this process and its tests; the server listens on 127.0.0.1 only.
    access_key, secret_key = "local-identity", "local-credential"

    def __init__(self) -> None:
        super().__init__()
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self._settings = self.folder / "s3proxy.conf"
        self._data = self.folder / "data"
        settings = {
            "s3proxy.endpoint": self.endpoint,
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": self.access_key,
            "s3proxy.credential": self.secret_key,
            "jclouds.provider": "filesystem-nio2",
            "jclouds.filesystem.basedir": str(self._data),
        }
        # Logback's default is DEBUG, which costs more than the serving.
        self._logging = self.folder / "logback.xml"
        self._logging.write_text(LOGGING)
        self._settings.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    @property
    def flink_settings(self) -> Mapping[str, str]:
        """What a cluster's configuration needs for `s3://` to mean this server."""
        return {
            "s3.endpoint": self.endpoint,
            "s3.access-key": self.access_key,
            "s3.secret-key": self.secret_key,
            "s3.path.style.access": "true",
        }

    def client(self) -> Any:
        """A new boto3 client of this server."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, proxies={}),
        )

    def start(self) -> None:
        self._data.mkdir(exist_ok=True)
        classes = f"{jars('s3proxy-server')}/*"
        main = ("org.gaul.s3proxy.Main", "--properties", self._settings)
        logging = f"-Dlogback.configurationFile={self._logging}"
        self.run(java("-Xmx256m", logging, "-cp", classes, *main), self._answers)

    def _answers(self) -> bool:
        try:
            self.client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True
