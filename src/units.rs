//! Amounts in words, one way for window, command line and messages: bytes in binary units, times, and counts of things.

/// Bytes, in the largest unit of which there is at least one: `512 B`, `1.5 KiB`, `70 MiB`, `3.00 GiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const KIB: f64 = 1024.0;
    let (kibi, mebi) = (count as f64 / KIB, count as f64 / KIB / KIB);
    match count {
        0..1024 => format!("{count} B"),
        _ if mebi < 0.1 => format!("{kibi:.1} KiB"),
        _ if mebi < 9.95 => format!("{mebi:.1} MiB"),
        _ if mebi < KIB => format!("{mebi:.0} MiB"),
        _ => format!("{:.2} GiB", mebi / KIB),
    }
}

/// Seconds, in the unit that a reader thinks in.
#[must_use]
pub fn duration(secs: f64) -> String {
    match secs {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// A number of things: `1 picture`, `2 pictures`.
#[must_use]
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_and_honest() {
        let sizes = [0, 1023, 1536, 1 << 19, 10 << 20, (1 << 30) - 1, 3 << 30, u64::MAX];
        let words = ["0 B", "1023 B", "1.5 KiB", "0.5 MiB", "10 MiB", "1024 MiB", "3.00 GiB", "17179869184.00 GiB"];
        assert_eq!(sizes.map(bytes), words);
        assert_eq!([3.21, 45.0, 600.0, 9000.0].map(duration), ["3.2 s", "45 s", "10 min", "2.5 h"]);
        assert_eq!([0, 1, 2].map(|n| counted(n, "picture")), ["0 pictures", "1 picture", "2 pictures"]);
    }
}
