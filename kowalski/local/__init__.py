"""Local mode: a real MongoDB, a real Apache Kafka and all programs of Kowalski on this machine, under a supervisor."""
