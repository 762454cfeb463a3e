"""Listings of a prefix of a real S3 server, and manifests on S3 and web servers."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs import cli
from jobs.config.errors import UsageError
from jobs.flow.manifest import check, read
from tests.support import s3 as servers
from tests.support.footage import write_numbered
from tests.support.outputs import table
from tests.support.web_server import Page, serving
from udfs import ingest
from udfs.storage import manifest, s3, s3_listing
from udfs.storage.manifest import ManifestError
from udfs.storage.s3_listing import Part
from udfs.storage.settings import Params
from udfs.storage.uris import absolute_uri

NAMES = ["a b.mp4", "100%.mp4", "50%20+1.mp4", "über-電影.MKV", "a&b=c?d#e.webm", "deep/er/x.mov", "quote'\"<>.mp4"]


@pytest.fixture(scope="module")
def odd(s3_server: servers.Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A prefix that holds NAMES, things that are no videos, and a folder's own key.

    The name of a neighboring prefix begins like it.
    """
    one = tmp_path_factory.mktemp("odd") / "one"
    one.write_bytes(b"x" * 7)
    s3_server.put("s3://odd/in2/z.mp4", one)
    put = s3.client(Params(s3_endpoint=s3_server.url, s3_region="us-east-1")).put_object
    for name in [*NAMES, "notes.txt", "a.mp4.part", "folder.mp4/"]:
        put(Bucket="odd", Key=f"in/{name}", Body=b"" if name.endswith("/") else b"x" * 7)
    return "s3://odd/in"


def found(uri: str, params: Params) -> dict[str, str]:
    """uri -> version of every video under a prefix."""
    frames = [frame for part in s3_listing.parts(uri, params) for frame in s3_listing.videos(part, params)]
    whole = (pd.concat(frames) if frames else pd.DataFrame({"uri": [], "source_version": []})).dropna(subset="uri")
    assert whole["uri"].is_unique
    return dict(zip(whole["uri"], whole["source_version"], strict=True))


def named(uri: str, params: Params) -> list[str]:
    """The URIs that a manifest lists."""
    listing = manifest.examine(uri, params).listing
    assert listing is not None
    return listing.uris


def put_empty(server: servers.Server, bucket: str, folders: list[str], each: int) -> None:
    """Empty objects, put where the server keeps them."""
    for folder in folders:
        at = server.bucket(bucket) / folder
        at.mkdir(parents=True, exist_ok=True)
        for number in range(each):
            (at / f"{number:06}.mp4").touch()


@pytest.mark.parametrize("ending", ["", "/"])
def test_every_listed_name_can_be_read(odd: str, ending: str, proxy: servers.Proxy) -> None:
    listed = found(odd + ending, proxy.params())
    assert sorted(listed) == sorted(f"s3://odd/in/{name}" for name in NAMES)
    assert proxy.methods["HEAD"] == 0
    assert listed == {uri: s3.stat(uri, proxy.params()).version for uri in listed}


def test_a_whole_bucket_is_a_prefix(odd: str, proxy: servers.Proxy) -> None:
    assert len(found("s3://odd", proxy.params())) == len(NAMES) + 1


def test_folders_are_listed_apart(s3_server: servers.Server, proxy: servers.Proxy) -> None:
    put_empty(s3_server, "apart", ["v", "v/x", "v/y/z"], 3)
    whole = Part("apart", "v/", top=2)
    assert s3_listing.parts("s3://apart/v", proxy.params()) == [
        whole._replace(flat=True),
        whole._replace(prefix="v/x/"),
        whole._replace(prefix="v/y/"),
    ]
    assert s3_listing.parts("s3://apart/v/y", proxy.params()) == [Part("apart", "v/y/", top=4)]
    assert len(found("s3://apart/v", proxy.params())) == 9


def test_hidden_and_trash_folders_are_counted_below_the_prefix(s3_server: servers.Server, proxy: servers.Proxy) -> None:
    put_empty(s3_server, "trash", [".v", ".v/.Trash-0", ".v/x/@eaDir", ".v/y/.git", ".v/y"], 2)
    (s3_server.bucket("trash") / ".v/y/._a.mp4").touch()
    (s3_server.bucket("trash") / ".v/y/notes.txt").touch()
    pages = pd.concat(
        page
        for part in s3_listing.parts("s3://trash/.v", proxy.params())
        for page in s3_listing.videos(part, proxy.params())
    )
    left = pages[pages["uri"].isna()].groupby("left_out")["number"].sum().to_dict()
    assert sorted(pages["uri"].dropna()) == [
        f"s3://trash/.v/{name}" for name in ("000000.mp4", "000001.mp4", "y/000000.mp4", "y/000001.mp4")
    ]
    assert left == {"trash": 4, "hidden": 3, "suffix": 1}


@pytest.mark.parametrize("fault", ["slow", "lost", "unanswered", "torn"])
def test_a_page_that_does_not_come_is_asked_for_again(
    s3_server: servers.Server, proxy: servers.Proxy, fault: servers.Fault
) -> None:
    put_empty(s3_server, "pages", ["v"], 1200)
    proxy.planned = [None, None, None, fault]  # two pages to see whether there are folders, then those of the listing
    assert len(found("s3://pages/v/", proxy.params())) == 1200
    assert proxy.faults[fault] == 1
    assert proxy.methods["GET"] == 5


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://no-such-bucket/v/", "s3://no-such-bucket/v/: no such bucket"),
        ("s3://odd/nothing/", "s3://odd/nothing/: no video there"),
        ("s3://odd/in/gone.mp4", "s3://odd/in/gone.mp4: no such object"),
        ("s3://odd/in/gone.jsonl", "s3://odd/in/gone.jsonl: no such object"),
        ("s3://odd/in/notes.doc", "s3://odd/in/notes.doc: no video there"),
    ],
)
def test_a_manifest_that_is_not_there_is_refused_in_one_line(
    odd: str, proxy: servers.Proxy, uri: str, said: str
) -> None:
    with pytest.raises(UsageError, match=f"^--manifest {said}") as e:
        check(uri, proxy.params())
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["m.parquet", "m.csv"])
def test_a_table_on_s3_may_be_a_folder_as_spark_writes_it(
    s3_server: servers.Server, proxy: servers.Proxy, tmp_path: Path, name: str
) -> None:
    (tmp_path / "part").write_bytes(b"uri\n/a.mp4\n")
    s3_server.put(f"s3://lists/{name}/part-0{name[1:]}", tmp_path / "part")
    kind = name.partition(".")[2]
    assert [manifest.examine(f"s3://lists/{name}{end}", proxy.params()).kind for end in ("", "/")] == [kind, kind]


def test_missing_permission_is_one_line(odd: str, proxy: servers.Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    s3.client.cache_clear()
    with pytest.raises(UsageError, match=r"--manifest .*SignatureDoesNotMatch"):
        check(odd, proxy.params(s3_region="eu-west-1"))
    assert proxy.methods.total() <= 2
    s3.client.cache_clear()


def test_a_list_may_lie_on_s3_and_name_what_lies_anywhere(
    s3_server: servers.Server, proxy: servers.Proxy, tmp_path: Path
) -> None:
    uris = [
        "s3://b-1/v.mp4",
        "https://h/v.mp4?sig=1",
        "/local/v.mp4",
        "dbfs:/v.mp4",
        "beside.mp4",
        "./sub/a b%.mp4",
        "s3://b-1/v.mp4",
    ]
    (tmp_path / "list.json").write_text("\ufeff" + json.dumps(uris))
    at = s3_server.put("s3://lists/day/list.json", tmp_path / "list.json")
    listing = manifest.examine(at, proxy.params()).listing
    assert listing is not None
    listed, left_out = listing
    assert left_out == {"duplicate": 1}
    assert listed == [*uris[:3], "/dbfs/v.mp4", "s3://lists/day/beside.mp4", "s3://lists/day/sub/a b%.mp4"]


@pytest.mark.parametrize(("num_uris", "num_gets"), [(3, 1), (20_000, 2)])
def test_a_list_on_s3_costs_its_size_its_head_and_what_the_head_has_not(
    s3_server: servers.Server, proxy: servers.Proxy, tmp_path: Path, num_uris: int, num_gets: int
) -> None:
    (tmp_path / "list.json").write_text(json.dumps([f"s3://b-1/{number:09}.mp4" for number in range(num_uris)]))
    at = s3_server.put(f"s3://lists/{num_uris}.json", tmp_path / "list.json")
    assert len(named(at, proxy.params())) == num_uris
    assert proxy.methods == Counter(HEAD=1, GET=num_gets)


@pytest.mark.spark
def test_a_run_reads_a_list_on_s3_once(
    s3_server: servers.Server, spark: SparkSession, proxy: servers.Proxy, tmp_path: Path
) -> None:
    film = write_numbered(tmp_path / "v.mp4", 30, 30, (160, 120))
    (tmp_path / "list.json").write_text(json.dumps([str(film)]))
    at = s3_server.put("s3://lists/once/list.json", tmp_path / "list.json")
    sets = [f"--set=sources.{key}={value}" for key, value in (("s3_endpoint", proxy.url), ("s3_region", "us-east-1"))]
    assert cli.main(["ingest", "--manifest", at, "--output", str(tmp_path / "output"), *sets]) == 0
    assert [row["uri"] for row in table(tmp_path / "output", "videos")] == [str(film)]
    assert (proxy.methods, proxy.requests) == (Counter(HEAD=1, GET=1), Counter({"lists/once/list.json": 2}))


def test_a_list_on_the_web_names_what_lies_beside_it() -> None:
    page = Page(json.dumps(["a.mp4", "s3://b-1/v.mp4"]).encode(), ranges=False)
    with serving({"/x/list.json": page, "/x/v.mp4": Page(b"v")}) as site:
        here = Params(http_private=True, retry_s=0.0)
        assert named(f"{site.url}/x/list.json?sig=1", here) == [f"{site.url}/x/a.mp4", "s3://b-1/v.mp4"]
        assert named(f"{site.url}/x/v.mp4?sig=1", here) == [f"{site.url}/x/v.mp4?sig=1"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/gone.json", "status 404"),
        ("/bad.json", "the list ends within, after 0 entries"),
        ("/none.json", "no video there"),
        ("/table.parquet", "Parquet is not read over http"),
        ("/page.html", "neither a video nor a manifest"),
    ],
)
def test_a_bad_list_on_the_web_is_refused_without_its_secrets(path: str, said: str) -> None:
    pages = {"/bad.json": b"[", "/none.json": b"[]", "/table.parquet": b"PAR1", "/page.html": b"<html>"}
    with (
        serving({name: Page(data) for name, data in pages.items()}) as site,
        pytest.raises(UsageError, match=said) as e,
    ):
        check(f"http://me:s3cret@{site.url[7:]}{path}?sig=AKIA", Params(http_private=True, retry_s=0.0))
    assert "s3cret" not in str(e.value)
    assert "AKIA" not in str(e.value)
    assert f"{site.url}{path}: " in str(e.value)


def test_a_loopback_manifest_is_refused_by_default() -> None:
    with serving({"/list.json": Page(b"[]")}) as site, pytest.raises(ManifestError, match="has no public address"):
        manifest.examine(f"{site.url}/list.json", Params(retry_s=0.0))


@pytest.mark.parametrize(
    ("uri", "folder", "meant"),
    [
        ("v.mp4", "s3://b-1/x/", "s3://b-1/x/v.mp4"),
        ("/v.mp4", "s3://b-1/x/", "/v.mp4"),
        ("dbfs:/v.mp4", "/x", "/dbfs/v.mp4"),
        ("ä?.mp4", "https://h/", "https://h/ä?.mp4"),
    ],
)
def test_relative_means_from_the_list(uri: str, folder: str, meant: str) -> None:
    assert absolute_uri(uri, folder) == meant


@pytest.mark.spark
def test_spark_reads_a_prefix_without_asking_for_any_file(odd: str, spark: SparkSession, proxy: servers.Proxy) -> None:
    everything = read(spark, odd, proxy.params()).toPandas()
    listed = everything[everything["uri"].notna()]
    assert everything.loc[everything["uri"].isna(), ["left_out", "number"]].to_numpy().tolist() == [["suffix", 2]]
    assert dict(zip(listed["uri"], listed["source_version"], strict=True)) == found(odd, proxy.params())
    (same,) = ingest.add_versions([listed], proxy.params())
    assert same.equals(listed)
    assert proxy.methods["HEAD"] == 0


@pytest.mark.spark
def test_since_goes_by_what_the_store_says(
    s3_server: servers.Server, spark: SparkSession, proxy: servers.Proxy, tmp_path: Path
) -> None:
    film = write_numbered(tmp_path / "v.mp4", 30, 30, (160, 120))
    for name, days in (("new.mp4", 1), ("old.mp4", 9)):
        s3_server.put(f"s3://since/in/{name}", film)
        os.utime(s3_server.bucket("since") / "in" / name, (time.time() - days * 86_400,) * 2)
    sets = [f"--set=sources.{key}={value}" for key, value in (("s3_endpoint", proxy.url), ("s3_region", "us-east-1"))]
    night = ["ingest", "--manifest", "s3://since/in/", "--output", str(tmp_path / "output"), "--since", "7d", *sets]
    assert cli.main(night) == 0
    (row,) = table(tmp_path / "output", "videos")
    assert row["uri"] == "s3://since/in/new.mp4"
    assert proxy.methods["HEAD"] <= 1  # of what is probed


@pytest.mark.spark
def test_a_run_on_known_objects_costs_their_listing(
    s3_server: servers.Server, spark: SparkSession, proxy: servers.Proxy, tmp_path: Path
) -> None:
    film = write_numbered(tmp_path / "v.mp4", 30, 30, (160, 120))
    for name in ("a.mp4", "b c.mp4"):
        s3_server.put(f"s3://nightly/in/{name}", film)
    sets = [f"--set=sources.{key}={value}" for key, value in (("s3_endpoint", proxy.url), ("s3_region", "us-east-1"))]
    ingest = ["ingest", "--manifest", "s3://nightly/in/", "--output", str(tmp_path / "output"), *sets]
    assert cli.main(ingest) == 0
    videos = DeltaTable(str(tmp_path / "output/tables/videos")).to_pandas(columns=["uri", "source_version"])
    assert dict(videos.itertuples(index=False)) == found("s3://nightly/in/", proxy.params())
    proxy.reset()
    assert cli.main(ingest) == 0
    # Whether it is a table, which folders it has, whether any video lies there; and by a task, what lies there.
    assert (proxy.methods, proxy.requests) == (Counter(GET=4), Counter(nightly=4))


@pytest.mark.spark
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.jsonl", '{"uri": "a.mp4", "take": 1}\n{"uri": "s3://b-1/v.mp4", "note": "line\u2028end"}\r\n\n'),
        ("m.csv", "\ufeffuri,take,note\na.mp4,1,\ns3://b-1/v.mp4,,line\u2028end\n"),
    ],
)
def test_spark_gets_lines_from_the_web(spark: SparkSession, name: str, text: str) -> None:
    with serving({f"/x/{name}": Page(text.encode())}) as site:
        rows = read(spark, f"{site.url}/x/{name}", Params(http_private=True)).orderBy("uri").collect()
    assert [(row["uri"], row["attributes"]) for row in rows] == [
        (f"{site.url}/x/a.mp4", {"take": "1"}),
        ("s3://b-1/v.mp4", {"note": "line\u2028end"}),
    ]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.jsonl", '{"uri": "/a"}\n{"uri": \n', "MALFORMED"),
        ("m.csv", "uri,x\n/a\n", "MALFORMED: row 0"),
        ("m.csv", 'uri\n"/a\n', "MALFORMED"),
        ("m.csv", "uri,x\n", "no rows"),
        ("m.csv", "path\n/a\n", "no column uri, but `path`: name it uri, or set manifest.uri_column"),
    ],
)
def test_bad_lines_on_the_web_are_refused(spark: SparkSession, name: str, text: str, said: str) -> None:
    with serving({f"/{name}": Page(text.encode())}) as site, pytest.raises(UsageError, match=said) as e:
        read(spark, f"{site.url}/{name}?sig=AKIA", Params(http_private=True))
    assert "AKIA" not in str(e.value)
