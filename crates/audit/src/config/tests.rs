//! Options: what is refused, and by which words.

use std::path::Path;

use super::*;

fn limits() -> Limits {
    let guarded = vec![Guarded { path: "/nowhere/plugins".into(), what: "in the plugin directory" }];
    Limits { guarded, allow_prefixing: false, time_out: Duration::from_secs(2), syslog_sockets: Vec::new() }
}

fn device(options: &[(&str, &str)]) -> DeviceConfig {
    let mut options: BTreeMap<String, String> = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    options.entry("file_path".into()).or_insert_with(|| "/nowhere/audit.log".into());
    DeviceConfig { device_type: "file".into(), options, ..DeviceConfig::default() }
}

fn refusal(options: &[(&str, &str)]) -> String {
    device(options).plan(&limits()).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn wrong_options_are_refused_by_name() {
    for (options, text) in [
        (&[("file_path", "")][..], "file_path is required"),
        (&[("file_path", "  ")], "file_path is required"),
        (&[("mode", "0777")], "file mode must not have executable permissions"),
        (&[("mode", "0610")], "file mode must not have executable permissions"),
        (&[("mode", "rw")], "invalid value for option \"mode\": permission bits in octal, such as 0600"),
        (&[("mode", "4600")], "invalid value for option \"mode\": permission bits in octal, such as 0600"),
        (&[("mode", "-1")], "invalid value for option \"mode\": permission bits in octal, such as 0600"),
        (&[("mode", "0688")], "invalid value for option \"mode\": permission bits in octal, such as 0600"),
        (&[("log_raw", "yes")], "invalid value for option \"log_raw\": true or false"),
        (&[("hmac_accessor", "2")], "invalid value for option \"hmac_accessor\": true or false"),
        (&[("elide_list_responses", "tRUE")], "invalid value for option \"elide_list_responses\": true or false"),
        (&[("skip_test", "?")], "invalid value for option \"skip_test\": true or false"),
        (&[("format", "xml")], "unknown format type \"xml\""),
        (
            &[("prefix", "p: ")],
            "audit prefixing is not enabled in configuration, audit prefixing may not be configured for file sinks",
        ),
        (
            &[("filter", "token == x")],
            "invalid filter: selector \"token\" is not one of mount_point, mount_type, namespace, operation, path",
        ),
        (&[("fallback", "perhaps")], "invalid value for option \"fallback\": true or false"),
        (
            &[("fallback", "true"), ("filter", "mount_type == kv")],
            "a fallback device takes what the filters of the others leave, and cannot have a filter of its own",
        ),
        (&[("rotate_bytes", "-1")], "invalid value for option \"rotate_bytes\": a number that is not negative"),
        (&[("rotate_bytes", "100")], "invalid value for option \"rotate_bytes\": 0 or at least 4096"),
        (&[("rotate_duration", "1x")], "time: unknown unit \"x\" in duration \"1x\""),
        (&[("rotate_duration", "5ms")], "invalid value for option \"rotate_duration\": 0 or at least one second"),
        (&[("rotate_duration", "-5s")], "invalid value for option \"rotate_duration\": 0 or at least one second"),
        (&[("rotate_max_files", "few")], "invalid value for option \"rotate_max_files\": a number that is not negative"),
        (&[("rotate_compress", "zip")], "invalid value for option \"rotate_compress\": true or false"),
        (&[("write_timeout", "x")], "time: invalid duration \"x\""),
        (&[("write_timeout", "0")], "invalid value for option \"write_timeout\": more than zero and at most 60s"),
        (&[("write_timeout", "-1s")], "invalid value for option \"write_timeout\": more than zero and at most 60s"),
        (&[("write_timeout", "2h")], "invalid value for option \"write_timeout\": more than zero and at most 60s"),
        (&[("file_path", "/nowhere/plugins/x")], "audit file must not be in the plugin directory"),
        (&[("file_path", "/")], "audit file must not be a directory"),
        (&[("exclude", "[]")], "enterprise-only options supplied"),
    ] {
        assert_eq!(refusal(options), text, "{options:?}");
    }
}

#[test]
fn other_types_are_unknown() {
    for device_type in ["", "Socket", "sys log", "File", "http"] {
        let config = DeviceConfig { device_type: device_type.into(), ..DeviceConfig::default() };
        let error = config.plan(&limits()).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), format!("unknown backend type: \"{device_type}\""));
    }
}

#[test]
fn a_prefix_must_stay_on_its_line() {
    let limits = Limits { allow_prefixing: true, ..limits() };
    assert!(device(&[("prefix", "a\nb")]).plan(&limits).is_err());
    assert_eq!(device(&[("prefix", "vault: ")]).plan(&limits).unwrap().style.prefix, "vault: ");
}

#[test]
fn defaults_are_private_and_hashed() {
    let plan = device(&[]).plan(&limits()).unwrap();
    assert!(!plan.style.log_raw && plan.style.hmac_accessor && !plan.style.elide_list_responses && !plan.skip_test);
    assert_eq!((plan.style.format, plan.time_out, plan.fallback), (Format::Json, Duration::from_secs(2), false));
    assert!(plan.filter.is_none());
    for (text, mode) in [("", Some(0o600)), ("0000", None), ("640", Some(0o640)), ("0o640", Some(0o640))] {
        assert_eq!(device(&[("mode", text)]).mode().unwrap(), mode, "{text}");
    }
    assert_eq!(device(&[]).rotation().unwrap(), Rotation::default());
    let rotation =
        device(&[("rotate_bytes", "4096"), ("rotate_duration", "24h"), ("rotate_max_files", "3"), ("rotate_compress", "1")]);
    assert_eq!(
        rotation.rotation().unwrap(),
        Rotation { bytes: 4096, age: Duration::from_secs(86_400), max_files: 3, gzip: true }
    );
    let target = device(&[]).plan(&limits()).unwrap().target;
    assert_eq!(target, Target::File(Path::new("/nowhere/audit.log").to_owned()));
}

#[test]
fn sockets_and_the_log_daemon_have_options_of_their_own() {
    let of = |kind: &str, options: &[(&str, &str)]| {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        DeviceConfig { device_type: kind.into(), options, ..DeviceConfig::default() }.plan(&limits())
    };
    for (kind, options, text) in [
        ("socket", &[][..], "address is required"),
        ("socket", &[("address", "")], "address is required"),
        ("socket", &[("address", "h:1"), ("socket_type", "http")], "invalid value for option \"socket_type\": tcp, udp or unix"),
        ("socket", &[("address", "h:1"), ("write_timeout", "soon")], "time: invalid duration \"soon\""),
        ("socket", &[("address", "h:1"), ("format", "x")], "unknown format type \"x\""),
        (
            "socket",
            &[("address", "h:1"), ("prefix", "x")],
            "audit prefixing is not enabled in configuration, audit prefixing may not be configured for socket sinks",
        ),
        ("syslog", &[("facility", "FOO")], "invalid syslog facility: FOO"),
        ("syslog", &[("tag", "a b")], "invalid value for option \"tag\": at most 32 printable characters without [, ] and :"),
        ("syslog", &[("tag", "a:")], "invalid value for option \"tag\": at most 32 printable characters without [, ] and :"),
        ("syslog", &[("log_raw", "?")], "invalid value for option \"log_raw\": true or false"),
    ] {
        assert_eq!(of(kind, options).map(|_| ()).unwrap_err().to_string(), text, "{kind} {options:?}");
    }
    let plan = of("socket", &[("address", "h:1"), ("write_timeout", "5s")]).unwrap();
    assert_eq!((plan.target, plan.time_out), (Target::Socket(Network::Tcp, "h:1".into()), Duration::from_secs(5)));
    assert_eq!(of("socket", &[("address", "/s"), ("socket_type", "unix")]).unwrap().target.to_string(), "unix /s");
    assert_eq!(of("syslog", &[]).unwrap().target, Target::Syslog);
}
