//! Servers that say what they like.

use std::os::unix::net::UnixListener;

use super::*;

/// A server that takes whoever comes, and then does this.
fn server(serve: impl Fn(UnixStream) + Send + 'static) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(b"+OK\r\n");
            serve(stream);
        }
    });
    (dir, path)
}

fn get() -> Cmd {
    redis::cmd("GET")
}

/// What comes of asking a server that answers with this, again and again.
fn asked(text: &'static [u8]) -> Result<Value, Trouble> {
    let (_dir, path) = server(move |mut stream| while stream.write_all(text).is_ok() {});
    Link::at(&path, "u", "p").unwrap().wait(Duration::from_secs(2)).ask(&get())
}

#[test]
fn answers_without_an_end_are_left_at_their_greatest_length() {
    assert!(matches!(asked(b"xxxxxxxxxxxxxxxx"), Err(Trouble::Nonsense(_))));
    assert!(matches!(asked(b"+xxxxxxxxxxxxxxx"), Err(Trouble::Nonsense(_))));
    assert!(matches!(asked(b"*1\r\n"), Err(Trouble::Nonsense(_))));
    assert!(matches!(asked(b"*9000000000000000000\r\n+PONG\r\n"), Err(Trouble::Nonsense(_))));
    assert!(matches!(asked(b"$9000000000000000000\r\n"), Err(Trouble::Nonsense(_))));
    assert!(matches!(asked(b"$-7\r\n"), Err(Trouble::Nonsense(_))));
    assert_eq!(
        asked(b"*2\r\n$2\r\nab\r\n:7\r\n").unwrap(),
        Value::Array(vec![Value::BulkString(b"ab".to_vec()), Value::Int(7)])
    );
    assert!(matches!(asked(b"-ERR no\r\n"), Err(Trouble::Refused(said)) if said == "ERR no"));
}

#[test]
fn an_answer_that_never_ends_or_never_begins_has_a_deadline() {
    for piece in [&b"x"[..], b""] {
        let (_dir, path) = server(move |mut stream| {
            let _ = stream.write_all(b"+");
            loop {
                std::thread::sleep(Duration::from_millis(20));
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
        });
        let began = Instant::now();
        let mut link = Link::at(&path, "u", "p").unwrap().wait(Duration::from_millis(200));
        assert!(matches!(link.ask::<Value>(&get()), Err(Trouble::Late)));
        assert!(began.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn whoever_does_not_let_in_is_told_from_nobody() {
    let (_dir, path) = server(|_| {});
    assert!(Link::at(&path, "u", "p").unwrap().ask::<Value>(&get()).is_err_and(|t| t.is_down()));
    assert!(Link::at(&path.join("none"), "u", "p").is_err_and(|t| t.is_down()));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = (&stream).write_all(b"-WRONGPASS invalid username-password pair\r\n");
            std::mem::forget(stream);
        }
    });
    assert!(Link::at(&path, "u", "p").is_err_and(|t| t.is_shut()));
}

#[test]
fn a_long_value_passes_in_pieces() {
    let (_dir, path) = server(|mut stream| {
        let _ = stream.write_all(b"$300000\r\n");
        let _ = stream.write_all(&vec![b'v'; 300_000]);
        let _ = stream.write_all(b"\r\n+PONG\r\n");
    });
    let mut link = Link::at(&path, "u", "p").unwrap();
    link.send(&get().get_packed_command()).unwrap();
    let length = link.long().unwrap().unwrap();
    let mut out = Vec::new();
    link.pass(length, &mut out).unwrap();
    assert_eq!(out, vec![b'v'; 300_000]);
    assert_eq!(link.answer(&mut 100).unwrap(), Value::SimpleString("PONG".into()));
}
