"""A Hugging Face Hub for tests: a real HTTP server that huggingface_hub's own client talks to.

    hub = FakeHub()
    hub.user("ann")  # her token is "hf_ann"
    api = HfApi(endpoint=hub.url, token="hf_ann")

It speaks the routes that huggingface_hub 2.4 calls for what this project does with the Hub, as its
client code has them; a path that is not listed here is a 404 and is noted in `hub.unknown`.

- `GET /api/whoami-v2`: `HfApi._inner_whoami` (401 is "Invalid user token").
- `POST /api/repos/create`, `DELETE /api/repos/delete`: `HfApi.create_repo` (reads `url` from a 409
  where `exist_ok`; on 403 it tries `repo_info`), `delete_repo`.
- `GET /api/{kind}s/{id}[/revision/{rev}]`: `HfApi.model_info`, `dataset_info`, `space_info`, the
  fields of `ModelInfo`, `DatasetInfo`, `SpaceInfo`. `PUT .../settings`: `update_repo_settings`.
- `GET .../tree/{rev}[/{path}]`, `POST .../paths-info/{rev}`: `HfApi._iter_repo_tree_pages`,
  `get_paths_info`, `RepoFile`; pages by a `Link` header (`utils/_pagination.py`).
- `POST .../preupload/{rev}`: `_commit_api._fetch_upload_modes`; its `oid` is what
  `CommitOperationAdd._local_oid` is compared with.
- `POST .../commit/{rev}`: `_commit_api._prepare_commit_payload` (each key of it), `_send_commit`;
  412 for a `parentCommit` that is no longer the newest.
- `POST /{prefix}{id}.git/info/lfs/objects/batch`, `PUT` to the storage, `verify`, parts:
  `lfs.post_lfs_batch_info`, `lfs_upload`, `_upload_single_part`, `_upload_multi_part`.
- `HEAD` and `GET /{prefix}{id}/resolve/{rev}/{path}`: `file_download.get_hf_file_metadata`
  (`X-Repo-Commit`, `X-Linked-Etag`, `X-Linked-Size`), `http_get` (`Range` after a cut).
- `GET .../refs`, `.../commits/{rev}`, `POST` and `DELETE .../tag/`, `.../branch/`, `POST
  .../super-squash/`: `HfApi.list_repo_refs`, `list_repo_commits`, `create_tag`, `create_branch`,
  `super_squash_history`.
- `GET /api/collections/{slug}`: `HfApi.get_collection`, the fields of `Collection` and
  `CollectionItem` (`theme`, `upvotes`, `_id`, `note.text`; the slug of an item that is itself a
  collection).
- `GET .../auth-check`: `HfApi.auth_check`.
- Gated repositories: what they are is told to all (`gated` in `dataset_info`, the names of files);
  the files only to accounts that were let in, else 403 (401 without a token) with `X-Error-Code:
  GatedRepo`, which `hf_raise_for_status` makes `GatedRepoError`. (In `datasets.load.
  dataset_module_factory` both of these statuses are told apart.)
- `hub.sent_bytes` counts the bodies of answers, so that a test can tell how much was read.
- Which requests `datasets` makes of a dataset at a commit: `dataset_module_factory` (README,
  `name.py`, `.huggingface.yaml`, `dataset_infos.json` by `resolve`; the last three usually 404) and
  `HfFileSystem` (`info` at the revision, `tree`, `resolve` with `Range`). The datasets-server
  (`datasets-server.` before the host) is asked only for `main` by name, never for a commit; this
  project always gives a commit, so there is no such host here.
- `POST /api/validate-yaml`: `HfApi._validate_yaml`, `RepoCard.validate`; rules in `cards.py`.
- `/api/spaces/{id}/` `secrets`, `variables`, `runtime`, `hardware`, `sleeptime`, `pause`,
  `restart`, `volumes`: the methods of those names, `SpaceRuntime`, `Volume` (a Space's disk is a
  mounted volume: this client has no storage request any more).
- `GET /api/jobs/hardware`, `POST` and `GET /api/jobs/{namespace}`, `GET .../{job}`, `POST
  .../{job}/cancel`, `GET .../{job}/logs`: `list_jobs_hardware`, `run_job` (each key of
  `_create_job_spec` that this project sends), `list_jobs` (`label`), `inspect_job`, `cancel_job`,
  `fetch_job_logs` (`_stream_sse_events`, lines `data: {"data": ...}`). A Job's command really runs,
  see `jobs.py`; its `hf download` asks for
  `GET /api/agent-harnesses` (`utils/_detect_agent.py`); 403 without the right to write,
  402 without credit, `timeoutSeconds` ends it.
- Errors: `utils/_http.hf_raise_for_status`: `X-Error-Code` (`RepoNotFound`, `RevisionNotFound`,
  `EntryNotFound`), `X-Error-Message`, `{"error": ...}`. It makes `RepositoryNotFoundError` of a 401
  without a code only for https URLs, so this server always sends the code where the Hub does.

Large files lie at a second origin (another port), as on the Hub:
`_httpx2_follow_hub_redirects_with_backoff` stops there and must not forward the token. That origin
refuses a request that carries one.

Three things are left out. Xet: the client uploads by it where `hf_xet` is installed
(`utils/_runtime.is_xet_available`), to a storage service whose protocol is in a binary. This Hub
has none, so tests set `HF_HUB_DISABLE_XET=1` (`hub.environment()`), or the constant once the
library is imported (`with online():`), and the client takes its documented other path:
`_upload_files` the LFS batch, `upload_folder` one commit. Downloads do so by themselves: no
`X-Xet-Hash` is sent.
`.gitignore` is not applied. Pull requests cannot be made.
"""

from tests.fake_hub.faults import Fault
from tests.fake_hub.repos import Refused, Repo
from tests.fake_hub.server import FakeHub, online

__all__ = ["FakeHub", "Fault", "Refused", "Repo", "online"]
