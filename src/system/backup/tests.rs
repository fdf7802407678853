use std::io::{Cursor, Write};

use proptest::prelude::*;

use super::*;

fn key() -> Key {
    other(7)
}

fn other(byte: u8) -> Key {
    Key { key: Zeroizing::new([byte; 32]), fingerprint: format!("{byte:016x}") }
}

fn header() -> Header {
    Header {
        id: "20261120-080231".into(),
        project: "blog".into(),
        uid: 2000,
        reason: "manual".into(),
        key: String::new(),
        salt: String::new(),
    }
}

fn write(parts: &[(&str, Packing, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), &key(), header()).unwrap();
    for (name, packing, bytes) in parts {
        writer.part(name, *packing, |out| Ok(out.write_all(bytes)?)).unwrap();
    }
    writer.finish(Contents::default()).unwrap().0
}

fn read(file: &[u8]) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut parts = Vec::new();
    Reader::open(Cursor::new(file), &key())?.each(|part, from| {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        parts.push((part.name.clone(), bytes));
        Ok(())
    })?;
    Ok(parts)
}

fn code(error: &anyhow::Error) -> Code {
    error.downcast_ref::<Fault>().unwrap_or_else(|| panic!("no fault: {error:?}")).code
}

/// Bytes that do not get smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut x = 1_u64;
    std::iter::repeat_with(|| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    })
    .take(length)
    .collect()
}

const SEALED: usize = stream::CHUNK + stream::TAG;

/// Three chunks and a bit.
fn long() -> Vec<u8> {
    write(&[
        ("database", Packing::Plain, noise(2 * stream::CHUNK)),
        ("shared", Packing::Zstd, noise(stream::CHUNK)),
        ("env", Packing::Zstd, b"A=1\n".to_vec()),
    ])
}

#[test]
fn what_was_written_is_read_whatever_its_length() {
    for length in [0, 1, stream::CHUNK - 20, stream::CHUNK, stream::CHUNK + 1, 3 * stream::CHUNK] {
        for packing in [Packing::Plain, Packing::Zstd] {
            let bytes = noise(length);
            let file = write(&[("one", packing, bytes.clone()), ("two", packing, b"x".to_vec())]);
            let parts = read(&file).unwrap();
            assert_eq!(parts, [("one".to_owned(), bytes), ("two".to_owned(), b"x".to_vec())]);
        }
    }
    assert_eq!(read(&write(&[])).unwrap(), []);
}

#[test]
fn its_ends_say_what_is_inside_and_the_header_needs_no_key() {
    let file = long();
    let reader = Reader::open(Cursor::new(&file), &key()).unwrap();
    let names: Vec<_> = reader.manifest.parts.iter().map(|p| (p.name.as_str(), p.bytes)).collect();
    assert_eq!(names, [("database", 2 * stream::CHUNK as u64), ("shared", stream::CHUNK as u64), ("env", 4)]);
    let header = Reader::header(Cursor::new(&file)).unwrap();
    assert_eq!((header.project.as_str(), header.uid), ("blog", 2000));
    assert_eq!(header.key, key().fingerprint);
}

#[test]
fn a_part_that_is_not_wanted_is_checked_all_the_same() {
    let mut seen = 0;
    let mut reader = Reader::open(Cursor::new(long()), &key()).unwrap();
    reader
        .each(|_, from| {
            seen += 1;
            let _ = from.read(&mut [0; 10])?;
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, 3);
}

#[test]
fn the_secret_is_not_to_be_found_in_the_file_and_two_backups_of_the_same_differ() {
    let text = b"a recognisable secret, many times. ".repeat(100);
    let one = write(&[("env", Packing::Plain, text.clone())]);
    let two = write(&[("env", Packing::Plain, text)]);
    assert!(!one.windows(12).any(|w| w == b"recognisable"));
    assert_ne!(one, two);
    assert_eq!(format!("{:?}", key()), "Key(…)");
}

#[test]
fn another_key_is_named_and_refused() {
    let error = Reader::open(Cursor::new(long()), &other(8)).unwrap_err();
    assert_eq!(code(&error), Code::WrongKey);
}

#[test]
fn what_is_no_backup_is_refused() {
    for foreign in [&b""[..], b"PGDMP", b"HOSTKITB", &[0; 4096], b"HOSTKITB\x01\xff\xff\xff\xff"] {
        let error = Reader::open(Cursor::new(foreign), &key()).unwrap_err();
        assert_eq!(code(&error), Code::InvalidBackup, "{foreign:?}");
    }
    let mut newer = long();
    newer[8] = 2;
    assert!(Reader::open(Cursor::new(newer), &key()).unwrap_err().to_string().contains("format 2"));
}

#[test]
fn a_file_cut_at_any_chunk_is_refused() {
    let file = long();
    let start = file.len() % SEALED;
    let mut cuts: Vec<usize> = (0..file.len() / SEALED).map(|n| start + n * SEALED).collect();
    cuts.extend([0, 1, 8, 12, 13, 100, file.len() - 1, file.len() - 8, file.len() - 12, file.len() - 13]);
    let head = Reader::open(Cursor::new(&file), &key()).unwrap().manifest.stored;
    cuts.extend((0..=head / SEALED as u64).map(|n| usize::try_from(n).unwrap() * SEALED + 300));
    for cut in cuts {
        assert_eq!(code(&read(&file[..cut]).unwrap_err()), Code::InvalidBackup, "cut at {cut}");
    }
}

/// Where the chunks of a backup begin and end.
fn chunks(file: &[u8]) -> (usize, usize) {
    let length = u32::from_be_bytes(file[9..13].try_into().unwrap()) as usize;
    let stored = Reader::open(Cursor::new(file), &key()).unwrap().manifest.stored;
    (13 + length, 13 + length + usize::try_from(stored).unwrap())
}

#[test]
fn chunks_in_another_order_or_left_out_are_refused() {
    let file = long();
    let (from, to) = chunks(&file);
    assert!(to - from > 3 * SEALED, "there are chunks to swap");
    let (one, two) = (from..from + SEALED, from + SEALED..from + 2 * SEALED);
    let mut swapped = file.clone();
    swapped[one.clone()].copy_from_slice(&file[two.clone()]);
    swapped[two.clone()].copy_from_slice(&file[one.clone()]);
    let mut left_out = file.clone();
    left_out.drain(one.clone());
    let mut doubled = file.clone();
    doubled.splice(two.start..two.start, file[one.clone()].iter().copied());
    for (what, bad) in [("swapped", swapped), ("left out", left_out), ("doubled", doubled)] {
        assert_eq!(code(&read(&bad).unwrap_err()), Code::InvalidBackup, "{what}");
    }
}

#[test]
fn the_manifest_of_another_backup_does_not_fit() {
    let parts =
        [("one", Packing::Plain, b"the same".to_vec()), ("two", Packing::Plain, b"and more".to_vec())];
    let (one, two) = (write(&parts), write(&parts));
    let ((_, end_one), (_, end_two)) = (chunks(&one), chunks(&two));
    let mixed = [&one[..end_one], &two[end_two..]].concat();
    assert_eq!(code(&read(&mixed).unwrap_err()), Code::InvalidBackup);
    let mixed = [&two[..chunks(&two).0], &one[chunks(&one).0..]].concat();
    assert_eq!(code(&read(&mixed).unwrap_err()), Code::InvalidBackup);
}

#[test]
fn two_parts_that_were_swapped_by_one_who_has_the_key_are_refused() {
    // With the manifest of the one order and the chunks of the other, under the same keys.
    let first = (b"first".to_vec(), b"other".to_vec());
    let write = |swap: bool| {
        let mut writer = Writer::begin(Vec::new(), &key(), header()).unwrap();
        let order = if swap { ["b", "a"] } else { ["a", "b"] };
        for name in order {
            let bytes = if name == "a" { &first.0 } else { &first.1 };
            writer.part(name, Packing::Plain, |out| Ok(out.write_all(bytes)?)).unwrap();
        }
        writer.parts.sort_by(|x, y| x.name.cmp(&y.name));
        writer.finish(Contents::default()).unwrap().0
    };
    assert!(read(&write(false)).is_ok());
    assert_eq!(code(&read(&write(true)).unwrap_err()), Code::InvalidBackup);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_bit_that_flipped_anywhere_is_seen(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let file = write(&[("one", Packing::Zstd, noise(3000)), ("two", Packing::Plain, noise(300))]);
        let mut bad = file.clone();
        bad[at.index(file.len())] ^= 1 << bit;
        let error = read(&bad).unwrap_err();
        prop_assert!(matches!(code(&error), Code::InvalidBackup | Code::WrongKey), "{error:#}");
    }

    #[test]
    fn a_file_cut_anywhere_is_refused(at in any::<prop::sample::Index>()) {
        let file = write(&[("one", Packing::Zstd, noise(3000))]);
        let error = read(&file[..at.index(file.len())]).unwrap_err();
        prop_assert_eq!(code(&error), Code::InvalidBackup);
    }

    #[test]
    fn any_parts_come_back(parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..5000)), 0..6)) {
        let parts: Vec<(String, Packing, Vec<u8>)> = parts.into_iter().enumerate()
            .map(|(i, (zstd, bytes))| (format!("part {i}"), if zstd { Packing::Zstd } else { Packing::Plain }, bytes))
            .collect();
        let named: Vec<_> = parts.iter().map(|(n, p, b)| (n.as_str(), *p, b.clone())).collect();
        let back = read(&write(&named)).unwrap();
        let wanted: Vec<_> = parts.into_iter().map(|(n, _, b)| (n, b)).collect();
        prop_assert_eq!(back, wanted);
    }
}

/// Counts what is held back between what is written and what arrives.
#[test]
fn writing_keeps_no_more_than_a_few_chunks_in_memory() {
    struct Passed(std::rc::Rc<std::cell::Cell<u64>>);
    impl Write for Passed {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.set(self.0.get() + bytes.len() as u64);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let passed = std::rc::Rc::new(std::cell::Cell::new(0));
    let mut writer = Writer::begin(Passed(std::rc::Rc::clone(&passed)), &key(), header()).unwrap();
    let piece = noise(100_000);
    let mut given = 0;
    let wrote = writer.part("database", Packing::Plain, |out| {
        for _ in 0..40 {
            out.write_all(&piece)?;
            given += piece.len() as u64;
            assert!(given.saturating_sub(passed.get()) < 2 * SEALED as u64, "{given} {}", passed.get());
        }
        Ok(())
    });
    wrote.unwrap();
}

/// A text sealed as a stream by itself, without a manifest to vouch for it.
fn sealed(text: &[u8]) -> Vec<u8> {
    let mut sealer = stream::Sealer::new(Vec::new(), &[1; 32], b"header");
    sealer.write_all(text).unwrap();
    sealer.finish().unwrap().0
}

fn opened(bytes: &[u8], aad: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut opener = stream::Opener::new(bytes, &[1; 32], aad, bytes.len() as u64);
    std::io::Read::read_to_end(&mut opener, &mut text).map(|_| text)
}

#[test]
fn the_stream_itself_is_ordered_whole_and_bound_to_its_header() {
    let text = noise(3 * stream::CHUNK);
    let whole = sealed(&text);
    assert_eq!(opened(&whole, b"header").unwrap(), text);
    assert!(opened(&whole, b"another").is_err());
    // A text of whole chunks, cut after one of them.
    assert!(opened(&whole[..2 * SEALED], b"header").is_err());
    assert!(opened(&[&whole[..], &whole[2 * SEALED..]].concat(), b"header").is_err());
    let swapped = [&whole[SEALED..2 * SEALED], &whole[..SEALED], &whole[2 * SEALED..]].concat();
    assert!(opened(&swapped, b"header").is_err());
}

#[test]
fn what_lies_between_the_chunks_and_the_manifest_is_not_overlooked() {
    let file = long();
    let (_, end) = chunks(&file);
    let mut more = file.clone();
    more.splice(end..end, [0; 100]);
    assert_eq!(code(&read(&more).unwrap_err()), Code::InvalidBackup);
}

#[test]
fn a_part_that_is_not_what_its_manifest_says_is_named() {
    for change in [|part: &mut Part| part.sha256 = "0".repeat(64), |part: &mut Part| part.bytes += 1] {
        let mut writer = Writer::begin(Vec::new(), &key(), header()).unwrap();
        writer.part("database", Packing::Plain, |out| Ok(out.write_all(b"text")?)).unwrap();
        change(&mut writer.parts[0]);
        let error = read(&writer.finish(Contents::default()).unwrap().0).unwrap_err();
        assert!(error.to_string().contains("`database`"), "{error}");
    }
    let mut writer = Writer::begin(Vec::new(), &key(), header()).unwrap();
    writer.part("database", Packing::Plain, |out| Ok(out.write_all(b"text")?)).unwrap();
    "shared".clone_into(&mut writer.parts[0].name);
    assert!(read(&writer.finish(Contents::default()).unwrap().0).is_err());
}
