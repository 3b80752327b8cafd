//! Where a private PostgreSQL keeps its data, with which programs, and as whom: it refuses to run as root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::unistd::{User, chown, geteuid};

use super::process::{command, find, run};
use super::{MissingPrograms, census};

const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// Written after a whole initdb.
const COMPLETE: &str = "initialised";
/// Holds the path of a data folder that had to be elsewhere.
const ELSEWHERE: &str = "elsewhere";

/// Resolved once at the first start and kept for restarts.
#[derive(Debug)]
pub(crate) struct Home {
    data: PathBuf,
    folder: PathBuf,
    cluster: PathBuf,
    programs: PathBuf,
    user: Option<User>,
    privileges: Vec<String>,
}

impl Home {
    /// Decides and proves it: the user that will run the server can enter and write the cluster's folder.
    pub(crate) async fn prepare(data: &Path, folder: &Path) -> anyhow::Result<Self> {
        let programs = Self::programs().ok_or_else(|| MissingPrograms(vec!["PostgreSQL's initdb"]))?;
        let user = server_user()?;
        let mut home = Home {
            data: data.to_owned(),
            folder: folder.to_owned(),
            cluster: Self::elsewhere(data).unwrap_or_else(|| folder.join("cluster")),
            programs,
            user,
            privileges: Vec::new(),
        };
        home.find_place().await?;
        home.programs = home.programs_for_cluster()?;
        Ok(home)
    }

    /// The folder with initdb and postgres: the newest of Debian's, else the one on PATH.
    pub(crate) fn programs() -> Option<PathBuf> {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut versions: Vec<(u32, PathBuf)> = versions
            .filter_map(|version| {
                Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin")))
            })
            .collect();
        versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        let folders: Vec<PathBuf> = versions.into_iter().map(|(_, folder)| folder).collect();
        // PATH may hold a link to one program alone; the others stand beside what it points to.
        Some(fs::canonicalize(find("initdb", &folders)?).ok()?.parent()?.to_owned())
    }

    /// Where an earlier run had to keep the data folder, if not in `data`.
    pub(crate) fn elsewhere(data: &Path) -> Option<PathBuf> {
        let path = fs::read_to_string(data.join("postgres").join(ELSEWHERE)).ok()?;
        Some(PathBuf::from(path.trim_end()))
    }

    pub(crate) fn cluster(&self) -> &Path {
        &self.cluster
    }

    /// Of the cluster, not of the programs; `None` before initdb.
    pub(crate) fn major_version(&self) -> Option<u32> {
        fs::read_to_string(self.cluster.join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    pub(crate) fn command(&self, program: &str) -> anyhow::Result<Command> {
        command(&self.programs.join(program), &self.privileges, &self.data, &self.cluster)
    }

    pub(crate) fn is_initialised(&self) -> bool {
        self.folder.join(COMPLETE).exists()
    }

    pub(crate) fn mark_initialised(&self) -> anyhow::Result<()> {
        Ok(fs::write(self.folder.join(COMPLETE), "")?)
    }

    /// Leaves an empty cluster folder that belongs to the server's user.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        // The mark first: half a cluster without it is made anew, with it would be trusted.
        for unwanted in [self.folder.join(COMPLETE), self.cluster.clone()] {
            let removed =
                if unwanted.is_dir() { fs::remove_dir_all(&unwanted) } else { fs::remove_file(&unwanted) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", unwanted.display()));
                }
                _ => {}
            }
        }
        self.make_cluster_folder()
    }

    /// Removes the pid file of a server that is gone.
    ///
    /// PostgreSQL does so itself, but takes any process with that number for the old server: a stranger, or the old one
    /// itself, dead but not reaped, which stays so in a container without an init.
    pub(crate) fn forget_dead_server(&self) -> anyhow::Result<()> {
        let path = self.cluster.join("postmaster.pid");
        let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
        if pid.is_some_and(|pid| census::is_postgres_in(pid, &self.cluster)) {
            bail!(
                "a PostgreSQL (pid {}) is already running on {}",
                text.lines().next().unwrap_or("?"),
                self.cluster.display()
            );
        }
        Ok(fs::remove_file(path)?)
    }

    /// Makes the server's user the owner of a file.
    pub(crate) fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(user) = &self.user {
            chown(path, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    }

    /// Settles `privileges`, and `cluster` where it must be elsewhere.
    ///
    /// As an ordinary user there is nothing to settle. As root the server runs as another user, who can be kept out by
    /// a folder above, such as root's home. Then its processes, and only they, get the capability to pass. Where that
    /// is not permitted, the cluster goes to /var/tmp.
    async fn find_place(&mut self) -> anyhow::Result<()> {
        let Some(user) = &self.user else { return self.make_cluster_folder() };
        let become_user: Vec<String> =
            vec![format!("--reuid={}", user.uid), format!("--regid={}", user.gid), "--init-groups".into()];
        let capability = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"].map(String::from);
        let and_pass = [become_user.clone(), capability.into()].concat();
        let in_var_tmp = self.in_var_tmp();
        let here = self.cluster.clone();
        let mut choices = vec![(here.clone(), become_user.clone()), (here, and_pass)];
        if !self.is_initialised() {
            choices.push((in_var_tmp.clone(), become_user));
        }
        for (cluster, privileges) in choices {
            (self.cluster, self.privileges) = (cluster, privileges);
            self.make_cluster_folder()?;
            if self.can_write().await {
                if self.cluster == in_var_tmp {
                    fs::write(self.folder.join(ELSEWHERE), in_var_tmp.as_os_str().as_encoded_bytes())?;
                }
                return Ok(());
            }
        }
        bail!(
            "PostgreSQL must not run as root, and no other user can write below {}; choose another folder with --data",
            self.data.display()
        )
    }

    async fn can_write(&self) -> bool {
        let Some(shell) = find("sh", &[]) else { return false };
        let Ok(mut command) = command(&shell, &self.privileges, &self.data, &self.cluster) else {
            return false;
        };
        command.args(["-c", "cd \"$1\" && test -w .", "sh"]).arg(&self.cluster);
        run("the check of PostgreSQL's folder", command, &self.folder.join("check.log"), PROBE_LIMIT)
            .await
            .is_ok()
    }

    fn make_cluster_folder(&self) -> anyhow::Result<()> {
        let cannot = || format!("cannot prepare {}", self.cluster.display());
        if let Err(error) = fs::create_dir(&self.cluster) {
            let found = fs::symlink_metadata(&self.cluster).map_err(|_| error).with_context(cannot)?;
            // In /var/tmp anybody could have put something here, such as a link to a folder that is not ours to give.
            let server = self.user.as_ref().map(|user| user.uid.as_raw());
            let ours = found.uid() == geteuid().as_raw() || Some(found.uid()) == server;
            ensure!(
                found.is_dir() && ours,
                "{} is not a folder of our own; remove it",
                self.cluster.display()
            );
        }
        fs::set_permissions(&self.cluster, fs::Permissions::from_mode(0o700)).with_context(cannot)?;
        self.give(&self.cluster).with_context(cannot)
    }

    fn in_var_tmp(&self) -> PathBuf {
        let hash = blake3::hash(self.data.as_os_str().as_encoded_bytes()).to_hex();
        PathBuf::from(format!("/var/tmp/podfleet-{}", &hash[..16]))
    }

    /// A cluster can only be run by the major version that made it.
    fn programs_for_cluster(&self) -> anyhow::Result<PathBuf> {
        let Some(version) = self.major_version() else { return Ok(self.programs.clone()) };
        let own = PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"));
        if !self.is_initialised() || self.programs.ends_with(format!("{version}/bin")) {
            Ok(self.programs.clone())
        } else if own.join("postgres").is_file() {
            Ok(own)
        } else if self.programs.starts_with("/usr/lib/postgresql") {
            bail!(
                "{} was made by PostgreSQL {version}, which is not installed any more; \
                 install it, or choose another folder with --data",
                self.cluster.display()
            )
        } else {
            Ok(self.programs.clone())
        }
    }
}

/// `None`: as whoever we are.
fn server_user() -> anyhow::Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)?
            && !user.uid.is_root()
        {
            return Ok(Some(user));
        }
    }
    bail!(
        "PostgreSQL must not run as root, and there is no user `postgres` or `nobody`; run podfleet as another user"
    )
}
