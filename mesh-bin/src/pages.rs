//! Letting go of what only the start has run.

use std::time::Duration;

/// How long after the start: what the workers and the control thread do first is done by then.
const AFTER_START: Duration = Duration::from_millis(250);

/// Unmaps, once the program has started, the pages of code and constants that it has touched so far: reading a spec and
/// checking it takes most of the program, serving it little. What is needed again the kernel maps again from its cache,
/// tens of faults in all; the rest no longer counts as resident, and is what the kernel can do without first.
pub(crate) async fn release_after_start() {
    tokio::time::sleep(AFTER_START).await;
    #[cfg(target_os = "linux")]
    match std::fs::read_to_string("/proc/self/maps") {
        Ok(maps) => maps.lines().filter_map(linux::unwritten).for_each(linux::release),
        // no /proc: they stay
        Err(error) => tracing::debug!(%error, "the pages of the start stay resident"),
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::mm::{Advice, madvise};
    use std::{ops::Range, ptr};

    /// The addresses of a line of `/proc/self/maps`, if it is a file's part that nobody has written to in memory: its
    /// code, or its beginning, where constants are and no relocation is. A debugger's breakpoints in it are lost.
    pub(super) fn unwritten(line: &str) -> Option<Range<usize>> {
        let mut fields = line.split_ascii_whitespace();
        let (addresses, rights, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let path = fields.nth(2)?;
        let is_beginning = usize::from_str_radix(offset, 16) == Ok(0);
        if !path.starts_with('/') || !(rights == "r-xp" || rights == "r--p" && is_beginning) {
            return None;
        }
        let (start, end) = addresses.split_once('-')?;
        Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
    }

    #[expect(
        unsafe_code,
        reason = "to advise on memory that Rust knows nothing of; it reads the same before and after"
    )]
    pub(super) fn release(pages: Range<usize>) {
        let start = ptr::with_exposed_provenance_mut(pages.start);
        // SAFETY: a private mapping of a file, of which nothing was written to in memory: a page that is let go comes
        // back with the same bytes.
        let advised = unsafe { madvise(start, pages.len(), Advice::LinuxDontNeed) };
        if let Err(error) = advised {
            tracing::debug!(%error, "pages of the start stay resident");
        }
    }

    #[cfg(test)]
    mod tests {
        use super::unwritten;

        #[test]
        fn only_what_is_of_a_file_and_was_not_written_to() {
            let code = "55c7e716d000-55c7e7912000 r-xp 001eb000 fe:00 11224361                   /usr/bin/mesh";
            assert_eq!(unwritten(code), Some(0x55c7_e716_d000..0x55c7_e791_2000));
            let constants = "55c7e6f81000-55c7e716d000 r--p 00000000 fe:00 11224361   /usr/bin/mesh";
            assert_eq!(unwritten(constants), Some(0x55c7_e6f8_1000..0x55c7_e716_d000));
            let relocated = "55c7e7912000-55c7e7950000 r--p 00990000 fe:00 11224361   /usr/bin/mesh";
            let data = "55c7e7950000-55c7e7955000 rw-p 009cd000 fe:00 11224361   /usr/bin/mesh";
            let shared = "7f53b0000000-7f53b0001000 r-xs 00000000 fe:00 11224361   /usr/lib/x";
            for other in
                [relocated, data, shared, "7ffd0-7ffd1 r-xp 00000000 00:00 0   [vdso]", "7f53-7f54 rw-p 0 0:0 0", ""]
            {
                assert_eq!(unwritten(other), None, "{other}");
            }
        }
    }
}
