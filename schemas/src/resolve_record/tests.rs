use super::*;

const LINES: &str = r#"{"name":"Net_Kit","vers":"1.0.0","deps":[{"name":"log","req":"^0.4","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"},{"name":"t","req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"dev"},{"name":"tls","req":"^2","features":["ring"],"optional":true,"default_features":false,"target":"cfg(unix)","kind":"build","package":"rustls"}],"cksum":"00","features":{"default":["std"],"std":[]},"yanked":false,"v":1,"pubtime":"2026-01-01T00:00:00Z","seq":3,"published":3,"size":7,"format":"cargo","record":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}
{"name":"Net_Kit","vers":"1.1.0","deps":[{"name":"log","req":"^0.4","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"},{"name":"far","req":"*","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal","registry":"sparse+https://elsewhere.example/index/"}],"cksum":"00","features":{"default":["std"],"std":[]},"yanked":true,"links":"z","v":2,"features2":{"tls":["dep:tls"]},"rust_version":"1.70","pubtime":"2026-01-01T00:00:00Z","seq":9,"published":5,"size":7,"format":"cargo","record":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}
{"name":"Net_Kit","vers":"1.2.0","deps":[],"cksum":"00","features":{},"yanked":true,"v":1,"pubtime":"2026-01-01T00:00:00Z","seq":8,"published":6,"size":0,"format":"generic","record":"sha256:0000000000000000000000000000000000000000000000000000000000000000","deleted":"spam"}
{"name":"Net_Kit","vers":"1.3.0","deps":[],"cksum":"00","features":{},"yanked":false,"v":3,"pubtime":"2026-01-01T00:00:00Z","seq":7,"published":7,"size":0,"format":"cargo","record":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}
"#;

#[test]
fn a_record_says_what_the_choice_needs_and_reads_back() {
    let record = ResolveRecord::of(&IndexFile::parse(LINES.as_bytes()).unwrap()).unwrap();
    let expected = r#"{"d":[["log","^0.4"],["tls","^2",3,["ring"],"rustls"],["far","*",0,[],"","sparse+https://elsewhere.example/index/"]],"f":[["default","std"],["std"],["tls","dep:tls"]],"l":[[],[0,2],[0,1,2,1]],"m":[[],[0,2],[0,3]],"name":"Net_Kit","r":[["1.0.0",1,1],["1.1.0",2,2,1,"1.70","z"]],"seq":9,"v":1}
"#;
    let bytes = record.to_bytes();
    assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
    assert_eq!(ResolveRecord::parse(&bytes).unwrap(), record);
    let newest = &record.releases[1];
    let deps: Vec<&str> = record.deps_of(newest).map(ResolveDep::package_name).collect();
    let features: Vec<&str> = record.features_of(newest).map(|feature| &*feature.name).collect();
    assert_eq!((deps, features), (vec!["log", "far"], vec!["default", "std", "tls"]));
    assert_eq!(ResolveRecord::of(&IndexFile::default()), None);
}

#[test]
fn a_record_that_grows_is_the_record_of_every_length() {
    let all = IndexFile::parse(LINES.as_bytes()).unwrap();
    let mut growing = GrowingResolveRecord::of(&IndexFile { lines: vec![all.lines[3].clone()] }).unwrap();
    let mut index = IndexFile { lines: vec![all.lines[3].clone()] };
    for line in all.lines.iter().chain(&all.lines) {
        index.lines.push(line.clone());
        growing.push(line);
        let whole = ResolveRecord::of(&index).unwrap().to_bytes();
        assert_eq!(String::from_utf8(growing.to_bytes()).unwrap(), String::from_utf8(whole).unwrap());
        assert_eq!(GrowingResolveRecord::of(&index).unwrap().to_bytes(), growing.to_bytes());
    }
    assert!(GrowingResolveRecord::of(&IndexFile::default()).is_none());
}

#[test]
fn a_record_that_leads_nowhere_is_refused() {
    let good = r#"{"d":[["log","^0.4"]],"l":[[],[0,1]],"m":[[]],"name":"a","r":[["1.0.0",1]],"seq":9,"v":1}"#;
    assert!(ResolveRecord::parse(good.as_bytes()).is_ok());
    for (from, to, what) in [
        ("[0,1]", "[0,2]", "points at what is not there"),
        ("[0,1]", "[4294967295,4294967295]", "points at what is not there"),
        ("\"1.0.0\",1", "\"1.0.0\",2", "points at what is not there"),
        ("\"1.0.0\",1", "\"1.0.0\",1,1", "points at what is not there"),
        ("\"v\":1", "\"v\":2", "has form 2"),
        ("[\"log\",\"^0.4\"]", "[\"log\"]", "lacks a field"),
    ] {
        let error = ResolveRecord::parse(good.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}
