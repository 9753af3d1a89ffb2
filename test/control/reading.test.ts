import { existsSync, mkdtempSync, openSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Reading } from '../../ts/control/reading.ts';
import { FileError } from '../../ts/sys/files.ts';

/** Files that do not hang; test/lab/stalling.test.ts has those that do. */

const MAX = 65_536;

let scratch: string;
let path: string;
beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'knockify-reading-'));
  path = join(scratch, 'rc');
  writeFileSync(path, 'some text', { mode: 0o640 });
});
afterEach(() => rmSync(scratch, { recursive: true }));

const limits = { perUser: 2, within: 10_000 };

/** What is read, or the error. */
function contents(reading: Reading, file: string, uid = 1): Promise<string> {
  const fd = openSync(file, 'r');
  return new Promise((resolve) => {
    reading.read({ fd, name: file, uid }, (take) => {
      try {
        const { bytes, mode } = take();
        resolve(`${(mode & 0o777).toString(8)} ${Buffer.from(bytes)}`);
      } catch (error) {
        resolve(error instanceof FileError ? error.message : `? ${error}`);
      }
    });
  });
}

function isOpen(fd: number): boolean {
  return existsSync(`/proc/self/fd/${fd}`) && readlinkSync(`/proc/self/fd/${fd}`).startsWith(scratch);
}

it('reads them all, though only a few at a time', async () => {
  const reading = new Reading(limits);
  const all = await Promise.all(Array.from({ length: 20 }, () => contents(reading, path)));
  expect(all).toEqual(Array(20).fill('640 some text'));
});

it('refuses what is too long or no regular file, and reads the longest', async () => {
  const reading = new Reading(limits);
  const long = join(scratch, 'long');
  writeFileSync(long, Buffer.alloc(MAX, 'x'), { mode: 0o600 });
  expect(await contents(reading, long)).toBe(`600 ${'x'.repeat(MAX)}`);
  writeFileSync(long, Buffer.alloc(MAX + 1));
  expect(await contents(reading, long)).toMatch(/65537 bytes; more than 65536 are not read/);
  expect(await contents(reading, scratch)).toMatch(/not a regular file/);
  expect(await contents(reading, '/dev/zero')).toMatch(/not a regular file/);
});

it('closes each, also of whoever waits no more', async () => {
  const reading = new Reading(limits);
  const files = Array.from({ length: 6 }, () => openSync(path, 'r'));
  const taken: number[] = [];
  const stops = files.map((fd) => reading.read({ fd, name: path, uid: 1 }, () => taken.push(fd)));
  for (const stop of stops.slice(1)) stop();
  await vi.waitUntil(() => !files.some(isOpen));
  await vi.waitUntil(() => taken.length > 0);
  expect(taken).toEqual(files.slice(0, 1));
});

it('tells of a descriptor that is none', async () => {
  const reading = new Reading(limits);
  const text = await new Promise((resolve) => {
    reading.read({ fd: 100_000, name: 'it', uid: 1 }, (take) => {
      try {
        take();
      } catch (error) {
        resolve(String(error));
      }
    });
  });
  expect(text).toMatch(/it can't be read \(EBADF\)/);
});
