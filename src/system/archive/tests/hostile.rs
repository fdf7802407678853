//! Archives that want something else than to be unpacked; each is refused by name.

use std::cell::Cell;
use std::io::Read;

use super::*;

#[test]
fn paths_that_lead_out() {
    assert_refused(&Tar::default().file("../victim/x", "").end(), "`../victim/x` leads out");
    assert_refused(&Tar::default().file("a/../../victim/x", "").end(), "leads out");
    assert_refused(&Tar::default().dir("..").end(), "leads out");
    assert_refused(&Tar::default().file("/etc/passwd", "").end(), "`/etc/passwd` is an absolute path");
    assert_refused(&Tar::default().long(b'L', "../victim/x").file("a", "").end(), "leads out");
    assert_refused(&Tar::default().pax(b'x', &[("path", "/x")]).file("a", "").end(), "absolute");
}

#[test]
fn links_that_lead_out() {
    for (target, words) in [
        ("/etc/passwd", "absolute path `/etc/passwd`"),
        ("../victim", "leads out of the archive: `../victim`"),
        ("a/../../victim", "leads out"),
        ("..", "leads out"),
        ("nowhere", "does not exist"),
        ("file/x", "does not exist"),
        ("l", "circle"),
        ("", "without a target"),
        ("/usr/bin/python3", "absolute"),
    ] {
        let archive = Tar::default().dir("a").file("file", "").link("l", target).end();
        assert_refused(&archive, words);
        assert_refused(&archive, "`l`");
    }
}

#[test]
fn links_that_only_together_lead_out() {
    assert_refused(
        &Tar::default().file("f", "").link("a", ".").link("b", "a/..").end(),
        "`b` is a link that leads out",
    );
    assert_refused(&Tar::default().file("f", "").link("a", "b").link("b", "a").end(), "circle");
}

#[test]
fn writing_through_a_link() {
    let archive = Tar::default().link("a", "../victim").file("a/x", "").end();
    assert_refused(&archive, "`a/x` lies in `a`, which is not a directory");
    let archive = Tar::default().link("a", "../victim").dir("a").end();
    assert_refused(&archive, "twice");
    let archive = Tar::default().link("a", "../victim").dir("a/").end();
    assert_refused(&archive, "twice");
    let archive = Tar::default().dir("a").link("a", "../victim").end();
    assert_refused(&archive, "twice");
    let archive = Tar::default().file("a/x", "").link("a", ".").end();
    assert_refused(&archive, "twice");
}

#[test]
fn links_that_pretend_to_be_an_interpreter() {
    for (path, target) in [
        ("bin/python3", "/usr/bin/python3"),
        (".venv/python3", "/usr/bin/python3"),
        (".venv/bin/x/python3", "/usr/bin/python3"),
        (".venv/bin/python3", "/usr/bin/python3/../../../etc"),
        (".venv/bin/python3", "/usr/bin/python3-config"),
        (".venv/bin/python3", "/etc/passwd"),
        (".venv/bin/python3", "/usr/bin/env"),
    ] {
        assert_refused(&Tar::default().file("f", "").link(path, target).end(), "absolute path");
    }
    let archive = Tar::default().file("f", "").link("venv/bin/a", "b").link("venv/bin/b", "a").end();
    assert_refused(&archive, "circle");
}

#[test]
fn kinds_that_are_no_file_directory_or_link() {
    for (kind, words) in [
        (b'1', "hard link"),
        (b'3', "device"),
        (b'4', "device"),
        (b'6', "named pipe"),
        (b'7', "unknown kind `7`"),
        (b'S', "sparse"),
        (b'V', "unknown kind `V`"),
        (0x1b, "unknown kind `\\u{1b}`"),
    ] {
        let archive = Tar::default().raw(kind, b"odd", 0o644, "f", 0, b"").end();
        assert_refused(&archive, words);
        assert_refused(&archive, "`odd`");
    }
    assert_refused(&Tar::default().pax(b'x', &[("GNU.sparse.major", "1")]).file("f", "").end(), "sparse");
}

#[test]
fn files_that_would_run_as_their_owner() {
    for mode in [0o4755, 0o2755, 0o6755] {
        let archive = Tar::default().raw(b'0', b"su", mode, "", 0, b"").end();
        assert_refused(&archive, "`su` is set to run as its owner");
    }
}

#[test]
fn the_same_path_twice() {
    assert_refused(&Tar::default().file("a", "1").file("a", "2").end(), "`a` is in the archive twice");
    assert_refused(&Tar::default().file("a", "1").file("./a", "2").end(), "twice");
    assert_refused(&Tar::default().file("a/b", "1").file("a//./b", "2").end(), "twice");
    assert_refused(&Tar::default().dir("a").dir("a/").end(), "twice");
    assert_refused(&Tar::default().file("a/b", "1").file("a", "2").end(), "twice");
    assert_refused(&Tar::default().file("a", "1").file("a/b", "2").end(), "not a directory");
}

#[test]
fn names_that_are_no_names() {
    for (name, words) in [
        (&b"a\x1b[31m"[..], "control characters"),
        (b"a\nb", "control characters"),
        (b"a\xff", "not UTF-8"),
        (b"", "without a name"),
        (b"a/", "named like a directory"),
        (b"./", "must be a directory"),
    ] {
        assert_refused(&Tar::default().raw(b'0', name, 0o644, "", 0, b"").end(), words);
    }
    assert_refused(&Tar::default().long(b'L', "a\0b").file("x", "").end(), "control characters");
    assert_refused(&Tar::default().file("f", "").link("l", "a\tb").end(), "control characters");
}

#[test]
fn paths_that_are_too_long_or_too_deep() {
    assert_refused(&Tar::default().long(b'L', &"a/".repeat(600)).dir("x").end(), "longer than 1024 bytes");
    assert_refused(&Tar::default().long(b'L', &"a".repeat(256)).file("x", "").end(), "longer than 255 bytes");
    assert_refused(&Tar::default().long(b'L', &"a/".repeat(65)).dir("x").end(), "64 directories deep");
    assert_refused(
        &Tar::default().file("f", "").long(b'K', &"a".repeat(1025)).link("l", "").end(),
        "longer than 1024",
    );
}

/// An archive that goes on for ever, and counts how much of it was wanted.
fn endless(start: Vec<u8>, read: &Cell<u64>) -> impl Read + '_ {
    struct Counting<'a, R>(R, &'a Cell<u64>);
    impl<R: Read> Read for Counting<'_, R> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1.set(self.1.get() + count as u64);
            Ok(count)
        }
    }
    Counting(std::io::Cursor::new(start).chain(std::io::repeat(b'a')), read)
}

#[test]
fn extended_headers_that_claim_much_are_not_even_read() {
    for kind in [b'L', b'K', b'x', b'g'] {
        let read = Cell::new(0);
        let start = Tar::default().raw(kind, b"././@LongLink", 0, "", 1 << 30, b"").0;
        let place = Place::new();
        let error = extract(endless(start, &read), &place.staging(), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("extended header of more than"), "{error}");
        assert!(read.get() <= 128 * 1024, "read {} bytes", read.get());
    }
}

#[test]
fn files_that_claim_much_are_not_even_read() {
    let read = Cell::new(0);
    let start = Tar::default().raw(b'0', b"zeros", 0o644, "", 4 << 30, b"").0;
    let place = Place::new();
    let error = extract(endless(start, &read), &place.staging(), &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("`zeros` is larger than 256 MiB"), "{error}");
    assert!(read.get() <= 128 * 1024, "read {} bytes", read.get());
}

#[test]
fn headers_that_different_programs_read_differently() {
    let smuggled = Tar::default().pax(b'x', &[("size", "0")]).file("a", "content").end();
    assert_refused(&smuggled, "`a` has two headers that give different sizes");
    let smuggled = Tar::default().pax(b'x', &[("size", "512")]).file("a", "").end();
    assert_refused(&smuggled, "different sizes");
    assert_refused(&Tar::default().pax(b'g', &[("path", "x")]).file("a", "").end(), "global header");
    assert_refused(&Tar::default().pax(b'g', &[("size", "9")]).file("a", "").end(), "global header");
    assert_refused(&Tar::default().pax(b'x', &[]).pax(b'x', &[]).file("a", "").end(), "two PAX headers");
    assert_refused(&Tar::default().long(b'L', "x").long(b'L', "y").file("a", "").end(), "more than one path");
    assert_refused(
        &Tar::default().pax(b'x', &[("path", "x")]).long(b'L', "y").file("a", "").end(),
        "more than one path",
    );
    assert_refused(
        &Tar::default().pax(b'x', &[("path", "x"), ("path", "y")]).file("a", "").end(),
        "more than one path",
    );
    assert_refused(&Tar::default().file("a", "").long(b'L', "x").end(), "does not follow");
    assert_refused(&Tar::default().file("f", "").add(b'5', "d", b"content").end(), "claims to have content");
    assert_refused(
        &Tar::default().file("f", "").raw(b'2', b"l", 0, "f", 3, b"abc").end(),
        "claims to have content",
    );
    for records in ["x", "99 path=x\n", "0 path=x\n", "9 path=xy\n", "+9 path=x\n", "5 abc\n", "7 size=\n"] {
        let archive = Tar::default().add(b'x', "pax", records.as_bytes()).file("a", "").end();
        assert!(!refusal(&archive).message.is_empty());
    }
}

#[test]
fn a_second_archive_behind_the_first() {
    let mut archive = Tar::default().file("a", "").end();
    archive.extend(Tar::default().file("b", "").end());
    assert_refused(&archive, "more data follows");
    let mut archive = Tar::default().file("a", "").0;
    archive.extend([0; 512]);
    archive.extend(Tar::default().file("b", "").end());
    assert_refused(&archive, "more data follows");
}

#[test]
fn bombs() {
    let zeros = vec![0; 40 << 20];
    let bomb = gzip(&Tar::default().add(b'0', "zeros", &zeros).end());
    assert!(bomb.len() < 64 << 10);
    assert_refused(&bomb, "200-fold");
    // The padding after the end is metered too.
    let mut padded = Tar::default().file("a", "").end();
    padded.resize(40 << 20, 0);
    assert_refused(&gzip(&padded), "200-fold");

    let small = Limits { bytes: 4096, ..Limits::default() };
    let archive = Tar::default().add(b'0', "a", &[b'x'; 8192]).end();
    assert!(refusal_within(&archive, &small).message.contains("holds more than"));
    let small = Limits { file: 10, ..Limits::default() };
    assert!(refusal_within(&Tar::default().file("a", "01234567890").end(), &small).message.contains("`a`"));
}

#[test]
fn too_many_entries_even_if_they_are_only_implied() {
    let small = Limits { entries: 3, ..Limits::default() };
    let flat = Tar::default().file("a", "").file("b", "").file("c", "").file("d", "").end();
    assert!(refusal_within(&flat, &small).message.contains("more than 3 entries"));
    let deep = Tar::default().file("a/b/c/d", "").end();
    assert!(refusal_within(&deep, &small).message.contains("more than 3 entries"));
    let small = Limits { names: 10, ..Limits::default() };
    let long = Tar::default().file("aaaaaa", "").file("bbbbbb", "").end();
    assert!(refusal_within(&long, &small).message.contains("paths are too long"));
}

#[test]
fn archives_that_are_cut_short() {
    let whole = Tar::default().file("a", &"x".repeat(2000)).file("b", "y").end();
    let header = 512;
    for length in [1, 100, header, header + 1000, header + 2048, whole.len() - 1024 - 600, whole.len() - 1024]
    {
        assert_refused(&whole[..length], "cut short");
    }
    let compressed = gzip(&whole);
    for length in [3, 12, compressed.len() / 2, compressed.len() - 9, compressed.len() - 1] {
        assert_refused(&compressed[..length], "cut short");
    }
}

#[test]
fn archives_that_are_damaged_or_of_another_kind() {
    let mut wrong = Tar::default().file("a\x1b", "").end();
    wrong[100] ^= 1;
    assert_refused(&wrong, "damaged");
    assert_refused(&[b'x'; 2048], "damaged");
    let mut wrong = gzip(&Tar::default().file("a", "content").end());
    let crc = wrong.len() - 6;
    wrong[crc] ^= 1;
    assert_refused(&wrong, "damaged");
    assert_refused(&[&b"\x28\xb5\x2f\xfd"[..], &[0xff; 64]].concat(), "damaged");
    assert_refused(b"PK\x03\x04\0\0\0\0", "zip");
    assert_refused(b"BZh91AY&SY", "bzip2");
}

#[test]
fn archives_that_hold_nothing() {
    assert_refused(b"", "holds no files");
    assert_refused(&Tar::default().end(), "holds no files");
    assert_refused(&gzip(&Tar::default().end()), "holds no files");
    assert_refused(&Tar::default().dir("./").dir("a").end(), "holds no files");
    assert_refused(&Tar::default().file(".git/config", "x").end(), "holds no files");
}

#[test]
fn messages_never_carry_what_a_terminal_would_obey() {
    assert_eq!(quoted("a\x1b[2J\u{202e}b\u{9b}"), "`a\\u{1b}[2J\\u{202e}b\\u{9b}`");
    assert!(quoted(&"é".repeat(5000)).chars().count() < 200);
}
