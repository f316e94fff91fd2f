"""Whole nights into BigQuery: one table per survey and table, one partition per night, which a load replaces.

The job's name is made of the file's content: the same file is loaded once, however often it is asked for.
"""

import hashlib
from typing import Any, BinaryIO

from google.api_core.exceptions import Conflict, GoogleAPICallError, RetryError
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery

from kowalski.archive.tables.store import Partition
from kowalski.errors import ConfigError, SourceError
from kowalski.log import get_logger
from kowalski.tables_section import BigQuerySettings

log = get_logger(__name__)

#: how often the same content is tried under another name, after a job that failed
ATTEMPTS = 5
#: bytes that are hashed at once
PIECE = 1 << 20
#: answers of the server that may be others a moment later
PASSING = (408, 429, 500, 502, 503, 504)


class BigQuery:
    """Loads files into a dataset, which must be there."""

    def __init__(self, settings: BigQuerySettings, client: bigquery.Client):
        self.settings, self.client = settings, client

    @classmethod
    def of(cls, settings: BigQuerySettings) -> "BigQuery":
        """By the settings' credentials, or those that Google's libraries find by themselves.

        Raises
        ------
        ConfigError : there are none, or they can't be read
        """
        try:
            if settings.credentials:
                make = bigquery.Client.from_service_account_json
                return cls(settings, make(settings.credentials, project=settings.project, location=settings.location))
            return cls(settings, bigquery.Client(project=settings.project, location=settings.location))
        except (GoogleAuthError, OSError, ValueError) as error:
            raise ConfigError(
                f"tables.bigquery: no credentials ({error}): name a service account's file in tables.bigquery.credentials"
            ) from None

    def load(self, partition: Partition, file: BinaryIO) -> str:
        """The night's partition holds exactly this file's rows; the name of the job that did it, now or before.

        Raises
        ------
        SourceError : BigQuery refuses it, or can't be reached; the same can be done again
        """
        content = hashlib.sha256()
        while piece := file.read(PIECE):
            content.update(piece)
        name = f"kowalski_{partition.survey}_{partition.table}_{partition.night}_{content.hexdigest()[:32]}"
        target = f"{self.settings.project}.{self.settings.dataset}.{partition.survey}_{partition.table}"
        try:
            for attempt in range(ATTEMPTS):
                job_id = f"{name}_{attempt}" if attempt else name
                job = self._job(job_id, f"{target}${partition.night}", file)
                if job.error_result is None:
                    job.result(timeout=self.settings.timeout)
                    return job_id
                log.warning("BigQuery's job %s failed before: %s", job_id, job.error_result.get("message"))
        except GoogleAPICallError as error:
            raise SourceError(f"BigQuery: {target}: {error.message}", retriable=error.code in PASSING) from error
        except (RetryError, GoogleAuthError, OSError, TimeoutError) as error:
            raise SourceError(f"BigQuery: {target}: {error}", retriable=True) from error
        raise SourceError(f"BigQuery: {target}: {ATTEMPTS} jobs with this file failed: {job.error_result['message']}")

    def _job(self, job_id: str, target: str, file: BinaryIO) -> Any:
        """The load job of that name: begun, or the one that was begun before."""
        file.seek(0)
        try:
            return self.client.load_table_from_file(
                file, target, job_id=job_id, job_config=load_config(), rewind=True, timeout=self.settings.timeout
            )
        except Conflict:
            return self.client.get_job(job_id, timeout=self.settings.timeout)


def load_config() -> bigquery.LoadJobConfig:
    """Parquet in place of a partition's rows; columns that are new are added to the table."""
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
        create_disposition=bigquery.CreateDisposition.CREATE_IF_NEEDED,
        time_partitioning=bigquery.TimePartitioning(type_=bigquery.TimePartitioningType.DAY),
        schema_update_options=[bigquery.SchemaUpdateOption.ALLOW_FIELD_ADDITION],
    )
    parquet = bigquery.ParquetOptions()
    parquet.enable_list_inference = True
    config.parquet_options = parquet
    return config
