"""The watchers' names, for those who run them and ask after them."""

#: module of `kowalski.watchers` -> the name under which it signs and runs
WATCHERS = {
    "gcn": "gcn-watcher",
    "performance_report": "performance-reporter",
    "tns": "tns-watcher",
    "ztf_ops": "ztf-ops-watcher",
}
