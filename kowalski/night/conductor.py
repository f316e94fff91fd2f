"""The night conductor: ``python -m kowalski.night.conductor``. It sees each survey's night from its topic to its report.

All that it knows is in the database, and every step can be repeated: killed at any moment, it goes on where it was.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from kowalski.alerts.survey import enabled_surveys, get_survey
from kowalski.config import load_config
from kowalski.database.client import MongoDatabase, connect
from kowalski.database.nights import Night, Nights
from kowalski.errors import KowalskiError, SourceError
from kowalski.local.system import LocalSystem
from kowalski.log import get_logger
from kowalski.night.closing import close_night
from kowalski.night.course import AT_WORK, Rules, State, next_step
from kowalski.night.crew import Crew
from kowalski.night.dates import night_from
from kowalski.night.metrics import BALANCE, PROBLEMS, UNDER_WAY
from kowalski.night.report.page import report_of
from kowalski.night.sight import Lookout, Stream
from kowalski.program import once_available, run_program
from kowalski.settings import Config
from kowalski.streams import is_followed
from kowalski.watchers.slack import Slack, slack_of
from kowalski.watchers.watch import Watch, delay, stop_on_signals

log = get_logger(__name__)

PROGRAM = "night-conductor"

#: s between looks at nights of which nothing is under way
LEISURE = 60.0
#: days after a night in which alerts that come late make it run again
LATE = 2

Told = Callable[[Night, str, str], None]
"""Is told of a night's step: the night as it was, its new state, and why."""


class Conductor:
    """Looks at the nights that are not reported yet, and does what their states ask for.

    Parameters
    ----------
    crew : what starts and stops programs
    told : is told of every change of state
    slack : where reports are sent, too
    """

    def __init__(
        self, config: Config, database: MongoDatabase, crew: Crew, told: Told | None = None, slack: Slack | None = None
    ):
        self._config, self._database, self._crew = config, database, crew
        self._told = told or (lambda night, state, why: log.info("%s %s: %s: %s", night.survey, night.night, state, why))  # fmt: skip
        self.nights = Nights(database)
        settings = config.night
        self._rules = Rules(timedelta(minutes=settings.quiet_minutes), timedelta(hours=settings.longest_drain_hours))
        self._surveys = {name: get_survey(name).with_topic(config.kafka.topics.get(name)) for name in enabled_surveys(config.enabled)}  # fmt: skip
        self._lookouts = {name: Lookout(survey, config, database) for name, survey in self._surveys.items()}
        self._slack, self._slack_failures, self._slack_after = slack, 0, 0.0
        self._seen: dict[tuple[str, str], float] = {}
        self._problems: dict[str, str] = {}

    def close(self) -> None:
        """Leave Kafka."""
        for lookout in self._lookouts.values():
            lookout.close()

    def begin_tonight(self) -> None:
        """Every enabled survey's night of now is there."""
        now = datetime.now(UTC)
        for name, survey in self._surveys.items():
            self.nights.begin(name, f"{survey.night_at(now):%Y%m%d}", State.WAITING, "it is its turn")

    def step(self) -> dict[str, str]:
        """One look at each night that is not reported, or was lately; what its state asks for is done.

        Returns what went wrong, by night: that is tried again with the next look, and keeps no other night waiting.
        """
        problems = {}
        for night in self._open():
            if self._is_due(night):
                try:
                    self._conduct(night)
                except KowalskiError as error:
                    problems[f"{night.survey} {night.night}"] = str(error)
        for name in problems.keys() - self._problems.keys():
            log.warning("%s: %s", name, problems[name])
        self._problems = problems
        PROBLEMS.set(len(problems))
        under_way = {each.survey for each in self.nights.in_states(AT_WORK)}
        for name in self._surveys:
            UNDER_WAY.labels(name).set(name in under_way)
        self._send_reports()
        return problems

    def _open(self) -> list[Night]:
        """The nights to be looked at, of surveys that are enabled."""
        lately = f"{datetime.now(UTC) - timedelta(days=LATE):%Y%m%d}"
        known = self.nights.not_in(State.REPORTED, lately)
        return [each for each in known if each.survey in self._surveys and not (each.state == State.REPORTED and each.stopped)]  # fmt: skip

    def _is_due(self, night: Night) -> bool:
        """Nights under way are looked at each time, others now and then."""
        key, now = (night.survey, night.night), time.monotonic()
        if night.state in (*AT_WORK, State.DONE) or now >= self._seen.get(key, 0.0):
            self._seen[key] = now + LEISURE
            return True
        return False

    def _conduct(self, night: Night) -> None:
        """Look at a night, and see it into its next state."""
        if night.state == State.DONE:
            return self._finish(night)
        lookout = self._lookouts[night.survey]
        stream = lookout.stream(night.night)
        if stream.messages > night.messages:
            self.nights.grown(night, stream.messages)
            night = self.nights.of(night.survey, night.night) or night
        sight = lookout.look(night, stream)
        if sight.balance is not None:
            BALANCE.labels(night.survey).set(sight.balance)
        state, why = next_step(State(night.state), sight, self._rules)
        if state in AT_WORK:
            self._work(night, stream)
        self._into(night, state, why)

    def _work(self, night: Night, stream: Stream) -> None:
        """What a night under way needs runs, and how it stands is noted."""
        settings, survey = self._config.night, night.survey
        self.nights.rest(survey, False)
        if self._crew.bring(survey):
            log.info("%s: its programs run", survey)
        date = night_from(night.night)
        if not is_followed(self._surveys[survey], self._config.kafka.nights, date):
            self._crew.follow(survey, date)
        workers = self._crew.scale(survey, stream.lag, settings.most_workers.get(survey), settings.alerts_per_worker)
        self.nights.sample(survey, night.night, messages=stream.messages, lag=stream.lag, workers=workers)

    def _finish(self, night: Night) -> None:
        """A night that is done is reported, after what is made of it at its end."""
        self._crew.leave(night.survey, night_from(night.night))
        others = [each for each in self.nights.in_states(AT_WORK) if each.survey == night.survey]
        if self._config.night.stop_programs and not others:
            self.nights.rest(night.survey, True)
            if self._crew.rest(night.survey):
                log.info("%s: its programs rest until its next night", night.survey)
        close_night(night.survey, night.night, self._config, self._database)
        self.nights.keep_report(night.night, report_of(night.night, self._database, self._config))
        self._into(night, State.REPORTED, f"its report is kept: GET /api/nights/{night.night}/report")

    def _into(self, night: Night, state: State, why: str) -> None:
        if (state, why) == (night.state, night.why):
            return
        self.nights.step(night, state, why)
        if state != night.state:
            self._told(night, state, why)
            self._seen.pop((night.survey, night.night), None)

    def _send_reports(self) -> None:
        """The reports of nights that all their surveys have finished are in the channel, where there is one."""
        if self._slack is None or time.monotonic() < self._slack_after:
            return
        for night in {each.night for each in self.nights.latest(LATE + 1)}:
            surveys = [each.survey for each in self.nights.on(night) if each.state == State.REPORTED]
            page = self.nights.report(night)
            if page is None or len(surveys) < len(self.nights.on(night)) or self.nights.was_sent(night, surveys):
                continue
            try:
                self._slack.send({f"kowalski_{night}.html": page}, f"Kowalski, night {night}")
            except SourceError as error:
                self._slack_failures += 1
                wait = delay(error, self._slack_failures)
                self._slack_after = time.monotonic() + wait
                return log.warning("the report of %s is not sent: %s; again in %.0f s", night, error, wait)
            self._slack_failures = 0
            self.nights.note_sent(night, surveys)


def conduct(
    config: Config, told: Told | None = None, until: Callable[[Conductor], bool] = lambda conductor: False
) -> None:
    """Conduct the nights, one conductor at a time, until told to stop; or until that is so, looked at after each step."""
    database = connect(config.database)
    slack = slack_of(config.slack.slack_bot_token, config.slack.slack_channel_id)
    conductor = Conductor(config, database, Crew(LocalSystem.around()), told, slack)
    watch = Watch(PROGRAM, database)

    def step() -> None:
        conductor.begin_tonight()
        watch.figures["problems"] = conductor.step()
        if until(conductor):
            raise SystemExit(0)

    once_available(conductor.nights.ensure_indexes)
    try:
        watch.run(step, config.night.interval)
    finally:
        conductor.close()


def main() -> None:
    """Conduct until SIGTERM or SIGINT."""
    stop_on_signals()
    conduct(load_config())


if __name__ == "__main__":
    run_program(PROGRAM, main)
