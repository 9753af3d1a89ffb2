import { chmodSync, copyFileSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findLibrary, preloadVariable, proveLoads, unpreloaded } from '../../ts/cli/preload.ts';
import { findProgram, ProgramError, preloadable } from '../../ts/cli/program.ts';
import { EMPTY_MAIN, GO_BUILD_INFORMATION, GO_NOTE, openWorkshop, type Workshop } from './compiled.ts';

const library = findLibrary();
const ENV = '/usr/bin/env';
const SHELL = '/bin/sh';

let shop: Workshop;
let dynamic: string;

beforeAll(() => {
  shop = openWorkshop();
  dynamic = shop.compile('dynamic', EMPTY_MAIN);
});

afterAll(() => shop.close());

function refusal(action: () => unknown): ProgramError {
  try {
    action();
  } catch (error) {
    if (error instanceof ProgramError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

const programsOf = (file: string) => preloadable(file, { library: library.elf, path: shop.directory });
const refused = (file: string) => {
  const { status, message } = refusal(() => programsOf(file));
  expect(status).toBe(126);
  expect(message).toContain(file);
  return message;
};

describe('findProgram', () => {
  it('searches PATH in order and skips what is not there', () => {
    expect(findProgram('dynamic', `/nonexistent:${shop.directory}:/usr/bin`)).toBe(dynamic);
  });

  it('takes a name with a slash as it is', () => {
    expect(findProgram(dynamic, '')).toBe(dynamic);
  });

  it('takes an empty entry of PATH for the current directory', () => {
    const before = process.cwd();
    process.chdir(shop.directory);
    try {
      expect(findProgram('dynamic', '/nonexistent:')).toBe('./dynamic');
    } finally {
      process.chdir(before);
    }
  });

  it.each([
    [
      'a name that is nowhere',
      () => findProgram('no-such-program', shop.directory),
      127,
      'not found in PATH',
    ],
    ['a path that is not there', () => findProgram('/nonexistent/x', ''), 127, 'not found'],
    ['an empty name', () => findProgram('', '/bin'), 127, 'empty'],
    ['a directory', () => findProgram(shop.directory, ''), 126, 'not a regular file'],
    [
      'a file that is not executable',
      () => findProgram(shop.script('plain', '', 0o644), ''),
      126,
      'not executable',
    ],
    ['the same in PATH', () => findProgram('plain', `${shop.directory}:/nonexistent`), 126, 'not executable'],
  ])('refuses %s', (_, action, status, text) => {
    expect(refusal(action)).toMatchObject({ status, message: expect.stringContaining(text) });
  });

  it('goes on in PATH behind a file that is not executable', () => {
    shop.script('true', '', 0o644);
    expect(findProgram('true', `${shop.directory}:/usr/bin`)).toBe('/usr/bin/true');
  });
});

describe('preloadable', () => {
  it('takes a dynamic program', () => {
    expect(programsOf(dynamic)).toEqual([dynamic]);
  });

  it('takes a dynamic program whose section table was stripped', () => {
    const bare = shop.path('bare');
    copyFileSync(dynamic, bare);
    const bytes = readFileSync(bare);
    bytes.fill(0, 40, 48);
    bytes.fill(0, 58, 64);
    writeFileSync(bare, bytes);
    expect(programsOf(bare)).toEqual([bare]);
  });

  it.each([
    ['the interpreter of a script', `#!${SHELL}\n`, () => [SHELL]],
    ['blanks and an argument in its line', `#! \t${SHELL} -e \n`, () => [SHELL]],
    ['a line that has no end', `#!${SHELL}`, () => [SHELL]],
    ['what env starts', `#!${ENV} dynamic\n`, () => [ENV, dynamic]],
    ['what env -S starts', `#!${ENV} -S HERE=there dynamic -u x\n`, () => [ENV, dynamic]],
  ])('follows %s', (_, text, expected) => {
    expect(programsOf(shop.script('script', text))).toEqual(expected());
  });

  it('follows a script whose interpreter is a script', () => {
    const inner = shop.script('inner', `#!${dynamic}\n`);
    expect(programsOf(shop.script('outer', `#!${inner}\n`))).toEqual([dynamic]);
  });

  it.each([
    [
      'a script that is its own interpreter',
      () => shop.script('loop', `#!${shop.path('loop')}\n`),
      'too many #!',
    ],
    ['an interpreter that is not there', () => shop.script('crlf', '#!/bin/sh\r\n'), '"/bin/sh\\r"'],
    ['a text without #!', () => shop.script('text', 'echo\n'), 'neither an ELF program nor a script'],
    ['an empty file', () => shop.script('empty', ''), 'neither an ELF program nor a script'],
    ['env -i', () => shop.script('bald', `#!${ENV} -S -i dynamic\n`), 'changes the environment'],
    [
      'env with a LD_PRELOAD',
      () => shop.script('own', `#!${ENV} -S LD_PRELOAD= dynamic\n`),
      'changes the environment',
    ],
    ['env with nothing', () => shop.script('nothing', `#!${ENV}\n`), 'names no program'],
    ['a damaged ELF file', () => shop.script('damaged', '\x7fELF with nothing behind it at all'), 'damaged'],
  ])('refuses %s', (_, file, text) => {
    expect(refused(file())).toContain(text);
  });

  it("refuses what env doesn't find", () => {
    const file = shop.script('lost', `#!${ENV} no-such-program\n`);
    expect(refusal(() => programsOf(file))).toMatchObject({ status: 127 });
  });

  it('refuses an ELF file that is cut short', () => {
    const file = shop.path('short');
    copyFileSync(dynamic, file);
    truncateSync(file, 100);
    expect(refused(file)).toContain('cut short');
  });

  it.each([
    ['a static program', EMPTY_MAIN, ['-static'], 'it is a static program'],
    ['a static position-independent program', EMPTY_MAIN, ['-static-pie'], 'it is a static program'],
    ['a static Go program', GO_NOTE, ['-static'], 'it is a static Go program'],
    ['a dynamic Go program, by its note', GO_NOTE, [], 'it is a Go program'],
    ['a dynamic Go program, by its build information', GO_BUILD_INFORMATION, [], 'it is a Go program'],
    ['a program for musl', EMPTY_MAIN, ['-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1'], 'ld-musl'],
  ])('refuses %s', (_, source, flags, text) => {
    expect(refused(shop.compile('refused', source, flags))).toContain(text);
  });

  it.each([0o4755, 0o2755])('refuses a program with mode %o', (mode) => {
    const file = shop.path(`mode${mode}`);
    copyFileSync(dynamic, file);
    chmodSync(file, mode);
    expect(refused(file)).toContain('set-user-id');
  });

  it('refuses a script for a static interpreter', () => {
    const file = shop.compile('static', EMPTY_MAIN, ['-static']);
    expect(refusal(() => programsOf(shop.script('for-static', `#!${file}\n`))).message).toContain('static');
  });

  it.each([
    ['another machine', 18, 0xb7],
    ['another word size', 4, 1],
    ['another byte order', 5, 2],
  ])('refuses a program for %s', (_, offset, value) => {
    const bytes = readFileSync(dynamic);
    bytes[offset] = value;
    const file = shop.path('foreign');
    writeFileSync(file, bytes, { mode: 0o755 });
    // Read as another class or byte order, the rest of the header may make no sense at all.
    expect(refused(file)).toMatch(/another machine|damaged|cut short/);
  });
});

describe('proveLoads', () => {
  const env = { PATH: '/usr/bin', LD_PRELOAD: preloadVariable(library.path) };

  it('finds the library in a program, and does not run that', () => {
    const marker = shop.path('ran');
    const file = shop.compile(
      'curious',
      `#include <fcntl.h>\nint main(void) { return open("${marker}", O_CREAT, 0600); }`,
    );
    proveLoads(file, library.path, env);
    expect(existsSync(marker)).toBe(false);
  });

  it('names the reason where the loader takes no such library', () => {
    const missing = join(shop.directory, 'libknockify.so');
    const error = refusal(() => proveLoads(dynamic, missing, { LD_PRELOAD: missing }));
    expect(error).toMatchObject({ status: 126, message: expect.stringContaining('cannot be preloaded') });
  });

  it('is not content with a library that LD_PRELOAD does not name', () => {
    expect(refusal(() => proveLoads(dynamic, library.path, {})).message).toContain('is not loaded');
  });

  it('loads beside another library', () => {
    const other = shop.compile('other.so', 'int other;', ['-shared', '-fPIC']);
    proveLoads(dynamic, library.path, { LD_PRELOAD: preloadVariable(library.path, other) });
  });
});

describe('LD_PRELOAD', () => {
  it.each([
    [undefined, '/x/libknockify.so'],
    ['', '/x/libknockify.so'],
    ['/a.so /b.so', '/x/libknockify.so:/a.so:/b.so'],
    ['/old/libknockify.so:/a.so', '/x/libknockify.so:/a.so'],
  ])('keeps %j behind the library', (existing, expected) => {
    expect(preloadVariable('/x/libknockify.so', existing)).toBe(expected);
  });

  it('is without the library for a control process', () => {
    expect(unpreloaded({ A: '1', LD_PRELOAD: '/x/libknockify.so' })).toEqual({ A: '1' });
    expect(unpreloaded({ LD_PRELOAD: '/x/libknockify.so:/a.so' })).toEqual({ LD_PRELOAD: '/a.so' });
  });
});
