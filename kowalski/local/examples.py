"""Examples of every command: what --help shows at its end, and the reference of commands."""

#: command -> its examples, each with what it is for
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "demo": (
        ("./kowalski.py demo", "2000 simulated alerts, then it stays up until Ctrl-C"),
        ("./kowalski.py demo --n 300 --exit", "a short one, which ends by itself"),
        ("./kowalski.py demo --alerts ~/packets", "your own packets (.avro)"),
    ),
    "test": (
        ("./kowalski.py test", "all tests, with the services that they need"),
        ("./kowalski.py test tests/ml -x", "some; arguments go to pytest"),
        ("./kowalski.py test --faults --rounds 5", "processes killed and disks full, in the middle of a night"),
    ),
    "build": (("./kowalski.py build", "after a change of the code, where there are containers"),),
    "up": (
        ("./kowalski.py up", "everything on this machine, or in containers where there is a docker-compose.yaml"),
        ("./kowalski.py up --build", "in containers, of images made of this checkout"),
    ),
    "down": (
        ("./kowalski.py down", "data stay"),
        ("./kowalski.py down --wipe", "and nothing of the data stays; it asks first"),
    ),
    "status": (
        ("./kowalski.py status", "exit status 0 when all programs are ready"),
        ("./kowalski.py status --json", "for a program that watches"),
    ),
    "logs": (
        ("./kowalski.py logs", "the end of all logs"),
        ("./kowalski.py logs poster -f", "one program's, as it goes on"),
    ),
    "seed": (("./kowalski.py seed --source ~/dumps", "every mongodump archive of a folder"),),
    "ingest": (
        ("./kowalski.py ingest igaps ~/downloads --dry-run", "look whether the files are as they should be"),
        ("./kowalski.py ingest igaps ~/downloads", "write them"),
        ("./kowalski.py ingest catalog my.csv --collection mine --id name", "a catalogue without a recipe"),
    ),
    "backup": (
        ("./kowalski.py backup /backups/monday", "beside a running Kowalski; the same again goes on"),
        ("./kowalski.py backup --check /backups/monday", "whether it is whole"),
    ),
    "restore": (("./kowalski.py restore /backups/monday", "into an empty database"),),
    "workers": (("./kowalski.py workers ZTF --workers 8", "for the scheduler on dask.host"),),
    "certificates": (
        ("./kowalski.py certificates", "once, on one machine; then copy the files"),
        ("./kowalski.py certificates --renew", "before they end; the CA stays"),
    ),
    "models": (
        ("./kowalski.py models", "the published weights, verified"),
        ("./kowalski.py models --from ~/weights", "without the internet"),
    ),
    "replay": (
        ("./kowalski.py replay ZTF 20240301", "what Kafka still has of a night"),
        (
            "./kowalski.py replay ZTF 20240301 --from night.tar.gz --no-post",
            "a published archive; SkyPortal gets nothing",
        ),
        ("./kowalski.py replay ZTF 20240301 --from archive", "the packets that were kept"),
    ),
    "rematch": (("./kowalski.py rematch milliquas --rate 200", "after the catalogue was added or replaced"),),
    "night": (
        ("./kowalski.py night status", "where tonight is, and why"),
        ("./kowalski.py night auto", "conduct all nights until Ctrl-C"),
        ("./kowalski.py night stop ZTF", "say that ZTF's night is over"),
    ),
    "ledger": (
        ("./kowalski.py ledger", "the latest night; exit status 1 where anything is missing"),
        ("./kowalski.py ledger 20240301", "another"),
    ),
    "verify": (
        ("./kowalski.py verify 1105522281015015000", "made again of its packet: what of it differs"),
        ("./kowalski.py verify 314 --survey LSST --json", "where several surveys have that candid; for a program"),
    ),
    "archive": (
        ("./kowalski.py archive list", "nights that are kept"),
        ("./kowalski.py archive get 2610165080015010000 --output packet.avro", "one packet, as it came"),
    ),
    "quarantine": (
        ("./kowalski.py quarantine list", "what was refused, and why"),
        ("./kowalski.py quarantine replay --all --reason failed", "another try, after a fix"),
        ("./kowalski.py quarantine discard --reason truncated --because 'sent twice'", "give them up, on record"),
    ),
    "tables": (
        ("./kowalski.py tables status", "nights that are there"),
        ("./kowalski.py tables compact 20240301", "one made whole, exact and sorted"),
    ),
    "outbox": (
        ("./kowalski.py outbox", "what waits, by destination"),
        ("./kowalski.py outbox --failed", "what SkyPortal refused, with its answers"),
        ("./kowalski.py outbox --retry", "all of it again"),
    ),
    "filter": (
        ("./kowalski.py filter validate docs/filters/supernovae.yaml", "whether it is one"),
        ("./kowalski.py filter run rising.yaml", "whether it does what its file expects"),
        ("./kowalski.py filter push rising.yaml --token $TOKEN", "to a running Kowalski"),
    ),
    "watchlist": (
        ("./kowalski.py watchlist put galaxies galaxies.csv --group 1 --radius 600", "a list, or new rows of one"),
        ("./kowalski.py watchlist list", "those of your groups; KOWALSKI_TOKEN says who you are"),
    ),
    "schema": (("./kowalski.py schema diff packet.avro", "before a survey's new version comes"),),
    "new-survey": (("./kowalski.py new-survey toy --packet packet.avro", "module, settings, schema and test"),),
    "migrate": (
        ("./kowalski.py migrate --check", "what has to be done; changes nothing"),
        ("./kowalski.py migrate --run", "do it; may be stopped and started again"),
    ),
    "benchmark": (
        ("./kowalski.py benchmark --catalogs small --n 5000", "the whole chain"),
        ("./kowalski.py benchmark --scenario lone", "how long one alert takes"),
    ),
    "docs": (
        ("./kowalski.py docs", "build what changed into data/docs"),
        ("./kowalski.py docs --out /tmp/site", "elsewhere"),
    ),
    "completion": (
        ('eval "$(./kowalski.py completion bash)"', "in ~/.bashrc, with the whole path"),
        ("./kowalski.py completion zsh > ~/.zfunc/_kowalski.py", "a folder of fpath"),
        ("./kowalski.py completion fish > ~/.config/fish/completions/kowalski.py.fish", "once"),
    ),
}


def examples_of(command: str) -> str:
    """The end of a command's help; empty where it has no examples."""
    lines = [f"  {line}\n      {what}" for line, what in EXAMPLES.get(command, ())]
    return "\n".join(["examples:", *lines]) if lines else ""
