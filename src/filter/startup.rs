//! The log at the start of a filter, written by one of the workers that start with it: an Envoy has one for
//! each thread, and one more that validates the configuration.

use log::Level;

use crate::config::Config;
use crate::session::KeyName;
use crate::store::{Claim, Key, Record, Store, Table, Tenant, Worth};
use crate::time::{Seconds, Timestamp};

/// Lines that were logged.
const START_LOGGED: Table = Table { name: "start_logged", buckets: 1, bucket_limit: 1024 };

/// Workers that begin within this time belong to one start. The next start logs the same again.
const OF_ONE_START: Seconds = Seconds(10);

/// Logs the version, the providers, the names of the keys, and warnings.
pub fn log_start(config: &Config, keys: &[KeyName], store: &Store, now: Timestamp) {
    for (level, line) in lines_of_start(config, keys, store, now) {
        log::log!(level, "{line}");
    }
}

/// Empty if another worker has logged it.
fn lines_of_start(config: &Config, keys: &[KeyName], store: &Store, now: Timestamp) -> Vec<(Level, String)> {
    let providers: Vec<&str> = config.providers.iter().map(|roles| roles.provider.name.as_str()).collect();
    let names: Vec<String> = keys.iter().map(KeyName::to_string).collect();
    let warnings = config.warnings.iter().map(|warning| (Level::Warn, format!("configuration: {warning}")));
    let lines: Vec<(Level, String)> = [(
        Level::Info,
        format!(
            "vestibule {} starts: providers {}; {} rules",
            env!("CARGO_PKG_VERSION"),
            providers.join(", "),
            config.rules.len()
        ),
    )]
    .into_iter()
    .chain((!config.session.keys.is_empty()).then(|| {
        let line = format!("session.keys by name: {} (the first seals, all open)", names.join(", "));
        (Level::Info, line)
    }))
    .chain(warnings)
    .collect();
    let parts: Vec<&[u8]> = lines.iter().map(|(_, line)| line.as_bytes()).collect();
    let said = Record { worth: Worth::Disposable, ..Record::new(&[], now + OF_ONE_START) };
    let claim = START_LOGGED.rows(store, Tenant::none()).claim(Key::new(&parts), &said, now);
    if matches!(claim, Claim::Held(_)) { Vec::new() } else { lines }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::trial;

    #[test]
    fn one_worker_logs_a_start_and_the_next_start_or_configuration_is_logged_again() {
        let now = Timestamp(1_700_000_000);
        let (store, alone) = (Store::new(None), Store::new(None));
        let said = |store: &Store, document, now| {
            lines_of_start(&trial::read(document).unwrap(), &[], store, now).len()
        };
        assert_eq!(said(&store, json!({}), now), 2);
        assert_eq!(said(&store, json!({}), now), 0, "another worker");
        assert_eq!(said(&alone, json!({}), now), 2, "a worker that shares nothing");
        let unwise = json!({"session": {"insecure_allow_http": true}});
        assert_eq!(said(&store, unwise, now), 3, "another configuration");
        assert_eq!(said(&store, json!({}), now + OF_ONE_START), 2, "the next start");
    }
}
