"""Records behind the id of a schema that a schema registry knows (the framing of Confluent's serializers).

Who asks the registry is handed in; nothing here opens a connection.
"""
