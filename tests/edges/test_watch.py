"""The alarm clock: it rings for whatever is put in place, and again after the folder was away."""

import asyncio
import errno
import os
import shutil
from contextlib import asynccontextmanager

import pytest
from asyncinotify import Inotify

from parityd.edges.watch import WatchError, watch


@asynccontextmanager
async def watching(*folders, recheck=0.05):
    bells = {folder: asyncio.Event() for folder in folders}
    task = asyncio.create_task(watch(bells, recheck))
    for folder, bell in bells.items():
        if folder.exists():
            await rings(bell)
    try:
        yield list(bells.values())
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def rings(bell):
    async with asyncio.timeout(10):
        await bell.wait()
    bell.clear()


async def silent(bell):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await bell.wait()


@pytest.mark.parametrize("how", ["rename", "write", "mkdir", "link", "fifo"])
async def test_it_rings_for_every_way_to_put_something_in_place(tmp_path, how):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "x").touch()
    async with watching(folder) as (bell,):
        if how == "rename":
            (tmp_path / "x").rename(folder / "x")
        elif how == "write":
            (folder / "x").write_text("1")
        elif how == "mkdir":
            (folder / "HALT").mkdir()
        elif how == "link":
            os.link(tmp_path / "x", folder / "x")
        else:
            os.mkfifo(folder / "HALT")
        await rings(bell)


async def test_each_folder_has_its_own_bell(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    async with watching(one, two) as (first, second):
        (two / "x").touch()
        await rings(second)
        await silent(first)


async def test_a_file_on_its_way_rings_only_when_it_has_its_name(tmp_path):
    async with watching(tmp_path) as (bell,):
        (tmp_path / ".x.jsonl").write_text("1")
        await silent(bell)
        (tmp_path / ".x.jsonl").rename(tmp_path / "x.jsonl")
        await rings(bell)


async def test_a_folder_deleted_and_made_again_is_watched_again(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    async with watching(folder) as (bell,):
        for _ in range(3):
            shutil.rmtree(folder)
            await rings(bell)
            folder.mkdir()
            await rings(bell)
            (folder / "x").touch()
            await rings(bell)


async def test_a_folder_that_comes_later_is_watched_when_it_comes(tmp_path):
    folder = tmp_path / "in"
    async with watching(folder) as (bell,):
        await silent(bell)
        folder.mkdir()
        await rings(bell)


async def test_twenty_thousand_files_ring_and_leave_the_loop_free(tmp_path):
    folder, loop = tmp_path / "in", asyncio.get_running_loop()
    folder.mkdir()

    def flood():
        for k in range(20_000):
            os.close(os.open(folder / str(k), os.O_CREAT | os.O_WRONLY))

    async with watching(folder) as (bell,):
        await loop.run_in_executor(None, flood)
        await rings(bell)
        await asyncio.sleep(0.3)
        bell.clear()
        (folder / "last").touch()
        await rings(bell)


async def test_a_kernel_that_refuses_is_reported(tmp_path, monkeypatch):
    def refuses(self, path, mask):
        raise OSError(errno.ENOSPC, "no space for another watch")

    monkeypatch.setattr(Inotify, "add_watch", refuses)
    with pytest.raises(WatchError, match="no space for another watch"):
        await watch({tmp_path: asyncio.Event()})
