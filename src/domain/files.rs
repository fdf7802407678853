//! Looking at a source tree without knowing where it is.

/// The files of one source tree, by relative path with `/`; nothing outside of it can be reached.
///
/// A path that is missing, or that leads through a link out of the tree, is simply not there.
pub trait Files {
    /// The first `limit` bytes of a file; `None` when there is no such file.
    ///
    /// To tell a file that is too long from one that fits, ask for one byte more than is allowed.
    fn read(&self, path: &str, limit: usize) -> anyhow::Result<Option<Vec<u8>>>;
    /// Whether this is a regular file.
    fn is_file(&self, path: &str) -> bool;
    /// Whether this is a directory.
    fn is_dir(&self, path: &str) -> bool;
    /// Whether this is a regular file that its owner may execute.
    fn is_executable(&self, path: &str) -> bool;
    /// The names in a directory, sorted, at most a thousand of them; none when there is no such
    /// directory. The tree itself is `.`.
    fn list(&self, path: &str) -> Vec<String>;
}
