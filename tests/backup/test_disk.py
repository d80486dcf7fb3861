"""Where a folder lies, from mount tables as containers have them."""

from pathlib import Path

import pytest

from distill_studio.backup.disk import disk_of

SPACE = """\
overlay / overlay rw,relatime,lowerdir=/x 0 0
proc /proc proc rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
/dev/nvme1n1 /etc/hosts ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "more", "found"),
    [
        ("/home/user/.distill_studio", "", "container"),
        ("/data/studio", "", "container"),  # no disk was added: /data is a folder of the container
        ("/data/studio", "/dev/nvme2n1 /data ext4 rw 0 0\n", "mount"),
        ("/data", "/dev/nvme2n1 /data xfs rw 0 0\n", "mount"),
        ("/database/x", "/dev/nvme2n1 /data ext4 rw 0 0\n", "container"),
        ("/data/studio", "hf-mount /data fuse.hf-mount rw 0 0\n", "network"),
        ("/data/x", "server:/x /data nfs4 rw 0 0\n", "network"),
        ("/dev/shm/x", "", "container"),
        ("/my data/x", "/dev/sdb /my\\040data ext4 rw 0 0\n", "mount"),
        ("/data/x", "/dev/sdb /data ext4 rw 0 0\ntmpfs /data tmpfs rw 0 0\n", "container"),
    ],
)
def test_where_a_folder_lies(folder: str, more: str, found: str):
    assert disk_of(Path(folder), SPACE + more) == found
