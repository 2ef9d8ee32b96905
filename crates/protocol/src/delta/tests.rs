use super::{PatchError, apply, checksum, create, number};

const LIMIT: usize = 1 << 20;

/// A seeded generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

/// Asserts that a patch, if there is one, makes `target`, is shorter, and is text if `target` is; returns its
/// length.
#[track_caller]
fn check(source: &[u8], target: &[u8]) -> Option<usize> {
    let patch = create(source, target)?;
    assert_eq!(apply(source, &patch, LIMIT).as_deref(), Ok(target));
    assert!(patch.len() < target.len());
    if str::from_utf8(target).is_ok() {
        assert!(str::from_utf8(&patch).is_ok(), "{patch:?} is not text");
    }
    Some(patch.len())
}

#[test]
fn a_document_that_changes_a_little_needs_a_little() {
    let document =
        |price: &str| format!(r#"{{"symbol":"TIDE","price":{price},"note":"{}"}}"#, "x".repeat(500));
    assert!(check(document("100.25").as_bytes(), document("100.5").as_bytes()).unwrap() < 40);
    assert!(check(document("1").as_bytes(), document("1").as_bytes()).unwrap() < 20, "nothing changed");
    // What is elsewhere in the source is found, too.
    let (a, b) = ("The quick brown fox jumps. ", "Pack my box with jugs of jam. ");
    let (one, other) = (format!("{a}{b}{a}-{b}"), format!("{b}{a}+{b}{b}"));
    assert!(check(one.repeat(3).as_bytes(), other.repeat(3).as_bytes()).unwrap() < 150);
}

#[test]
fn there_is_no_patch_where_it_does_not_pay() {
    for (source, target) in
        [("", ""), ("a", ""), ("", "a"), ("", "something quite long, but new"), ("{\"n\":1}", "{\"n\":2}")]
    {
        assert_eq!(create(source.as_bytes(), target.as_bytes()), None);
    }
    let mut dice = Dice(1);
    let mut noise = || (0..1000).map(|_| dice.below(256) as u8).collect::<Vec<u8>>();
    assert_eq!(create(&noise(), &noise()), None);
}

#[test]
fn any_change_of_anything() {
    let seed = 0x000D_E17A;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let alphabets: [&[&[u8]]; 4] = [
        &[b"a"],
        &[b"a", b"b"],
        // Characters that begin, and that end, with the same bytes.
        &["ż".as_bytes(), "ź".as_bytes(), "ü".as_bytes(), "🐢".as_bytes(), "🐙".as_bytes(), b"x", b"\""],
        &[b"\0", b"\x80", b"\xC3", b"\xFF", b"z", b"\xBF"],
    ];
    let mut patches = 0;
    for round in 0..3000 {
        let alphabet = alphabets[round % 4];
        let words = |dice: &mut Dice, most: usize| -> Vec<u8> {
            (0..dice.below(most)).flat_map(|_| alphabet[dice.below(alphabet.len())].iter().copied()).collect()
        };
        let source = words(&mut dice, 400);
        let mut target = source.clone();
        for _ in 0..1 + round % 5 {
            let new = words(&mut dice, 30);
            let mut cut = || {
                let at = dice.below(target.len() + 1);
                // Text stays text, so that this is looked at.
                (0..=at).rev().find(|at| target.get(*at).is_none_or(|byte| byte & 0xC0 != 0x80)).unwrap_or(0)
            };
            let (a, b) = (cut(), cut());
            let moved: Vec<u8> = target.drain(a.min(b)..a.max(b)).collect();
            let at = if round % 2 == 0 { target.len() } else { 0 };
            target.splice(at..at, [new, moved].concat());
        }
        patches += usize::from(check(&source, &target).is_some());
        check(&target, &source);
    }
    assert!(patches > 1500, "{patches} patches");
}

#[test]
fn long_and_hostile_input_takes_bounded_work() {
    // In a debug build, too, this takes well under a second: the work is bounded, not only likely small.
    let zeros = vec![0; 256 << 10];
    let almost: Vec<u8> = (0..256 << 10).map(|i| u8::from(i % 17 == 16)).collect();
    let block: Vec<u8> = (0..256 << 10).map(|i| if i % 32 < 16 { 0 } else { (i / 32) as u8 }).collect();
    for (source, target) in [(&zeros, &almost), (&almost, &zeros), (&block, &almost), (&almost, &block)] {
        check(source, target);
    }
    assert!(check(&zeros, &zeros).unwrap() < 30);
    assert_eq!(create(&vec![0; 20 << 20], &zeros), None, "longer than is looked at");
}

#[test]
fn numbers() {
    for (value, text) in [(0, "0"), (63, "~"), (64, "10"), (4095, "~~"), (u32::MAX as usize, "3~~~~~")] {
        let mut out = Vec::new();
        number::write(value, &mut out);
        assert_eq!(str::from_utf8(&out), Ok(text));
        assert_eq!(number::digits(value), text.len());
        let mut rest = &out[..];
        assert_eq!((number::read(&mut rest), rest), (Some(value), &b""[..]));
    }
    assert_eq!(number::read(&mut &b"40000000"[..]), None, "over 32 bits");
    assert_eq!(number::read(&mut &b";"[..]), None);
}

#[test]
fn sums() {
    for (bytes, sum) in [
        (&b""[..], 0),
        (b"\x01", 0x0100_0000),
        (b"\x01\x02\x03", 0x0102_0300),
        (b"\x01\x02\x03\x04\x05", 0x0602_0304),
        (b"\xFF\xFF\xFF\xFF\x00\x00\x00\x02", 1),
    ] {
        assert_eq!(checksum(bytes), sum);
    }
}

#[test]
fn what_is_no_patch_is_refused() {
    let source = b"0123456789abcdef";
    let good = b"8\n4@0,4:wxyz";
    let sum = {
        let mut out = Vec::new();
        number::write(checksum(b"0123wxyz") as usize, &mut out);
        out.push(b';');
        out
    };
    let whole = [&good[..], &sum].concat();
    assert_eq!(apply(source, &whole, LIMIT).as_deref(), Ok(&b"0123wxyz"[..]));
    for end in 0..whole.len() {
        assert!(apply(source, &whole[..end], LIMIT).is_err(), "cut at {end}");
    }
    for (patch, expected) in [
        (&b""[..], PatchError::Malformed(0)),
        (b"8", PatchError::Malformed(1)),
        (b"8\n9@0,", PatchError::Malformed(2)),
        (b"8\n~~~~@0,", PatchError::WrongSource(16)),
        (b"8\n4@~~~~~,", PatchError::WrongSource(16)),
        (b"8\n4?", PatchError::Malformed(2)),
        (b"8\n5:ab", PatchError::Malformed(4)),
        (b"~~~~~~~~\n", PatchError::Malformed(0)),
        (b"10000\n", PatchError::TooLong { bytes: 1 << 24, limit: LIMIT }),
        (b"0\n1;", PatchError::WrongSource(16)),
        (b"0\n0;0;", PatchError::Malformed(4)),
    ] {
        assert_eq!(apply(source, patch, LIMIT), Err(expected), "{:?}", String::from_utf8_lossy(patch));
    }
    assert_eq!(apply(b"another source!!", &whole, LIMIT), Err(PatchError::WrongSource(16)));
    // Whatever comes, it is an error or a result, and no panic.
    let mut dice = Dice(7);
    for _ in 0..20_000 {
        let mut patch = whole.clone();
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(patch.len());
            patch[at] = b"@:;,\n0~4z\xFF"[dice.below(10)];
        }
        let _ = apply(source, &patch, LIMIT);
    }
}
