import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { REPOSITORY, until } from '../lab/program.ts';

/** Test files run on another kernel: a machine that QEMU computes, with this machine's root file system to read. */

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'knockify/kernels');
const VIRTIOFSD = ['/usr/libexec/virtiofsd', '/usr/lib/qemu/virtiofsd'];
/** KVM is many times as fast, but nested virtualisation often hangs instead of saying that it does not work. */
const ACCELERATOR = process.env.KNOCKIFY_ACCEL ?? 'tcg';
const MEMORY = '3G';

export interface Report {
  /** As `uname -r` says it. */
  readonly release: string;
  /** As `uname -v` says it, with Debian's version of the package. */
  readonly version: string;
  /** By path in the repository. */
  readonly files: ReadonlyMap<string, FileReport>;
}

export interface FileReport {
  readonly passed: readonly string[];
  /** With what they failed. */
  readonly failed: ReadonlyMap<string, string>;
}

/** Has the kernel of a series, such as 6.1, ready in the cache. */
export async function fetchKernel(series: string): Promise<void> {
  await promisify(execFile)('bash', [here('fetch.sh'), CACHE, series]);
}

/** Boots that kernel, runs the test files and switches it off; at the latest after `limit` milliseconds. */
export async function runInside(series: string, files: readonly string[], limit: number): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'knockify-kernel-'));
  // Some workers are nobody's.
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, 'files'), `${files.join('\n')}\n`);
  compile(join(folder, 'compiled'));
  const children: ChildProcess[] = [];
  const close = () => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  // A test process whose vitest was killed would wait to the end.
  process.once('disconnect', close);
  try {
    const socket = join(folder, 'files.sock');
    children.push(startFileServer(socket));
    await until('virtiofsd', () => existsSync(socket));
    const machine = startMachine(series, folder, socket);
    children.push(machine);
    await ended(machine, limit);
    return readReport(folder);
  } finally {
    process.off('disconnect', close);
    close();
  }
}

/** Has the sources as JavaScript, which finds what they need where it is. */
function compile(folder: string): void {
  mkdirSync(folder);
  for (const name of ['build', 'node_modules', 'package.json'])
    symlinkSync(join(REPOSITORY, name), join(folder, name));
  const options = ['--noEmit', 'false', '--rootDir', REPOSITORY, '--outDir', folder];
  execFileSync('npx', ['tsc', '-p', join(REPOSITORY, 'tsconfig.json'), ...options], { cwd: REPOSITORY });
}

/** Ends with this process, however that ends. */
function startBound(command: readonly string[]): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'KILL', ...command], { stdio: ['ignore', 'ignore', 'inherit'] });
}

function startFileServer(socket: string): ChildProcess {
  const server = VIRTIOFSD.find((path) => existsSync(path));
  if (server === undefined) throw new Error('virtiofsd is missing: run .ci/setup kernels');
  const options = ['-o', 'source=/', '-o', 'sandbox=chroot', '-o', 'cache=always', '-o', 'log_level=err'];
  return startBound([server, `--socket-path=${socket}`, ...options]);
}

function startMachine(series: string, folder: string, socket: string): ChildProcess {
  const kernel = join(CACHE, series);
  const release = readFileSync(join(kernel, 'release'), 'utf8').trim();
  const init = [join(kernel, 'lib/modules'), here('inside.sh'), process.execPath, folder];
  // One processor: QEMU 7.2 lets another see the breakpoints with which a kernel patches its own code, and 6.12 dies of it.
  return startBound([
    ...['qemu-system-x86_64', '-accel', ACCELERATOR, '-cpu', 'max', '-m', MEMORY],
    ...['-nodefaults', '-display', 'none', '-no-reboot'],
    ...['-object', `memory-backend-memfd,id=memory,size=${MEMORY},share=on`, '-numa', 'node,memdev=memory'],
    ...['-chardev', `socket,id=files,path=${socket}`, '-device', 'vhost-user-fs-pci,chardev=files,tag=root'],
    ...['-serial', `file:${join(folder, 'console')}`, '-serial', `file:${join(folder, 'report')}`],
    ...['-kernel', join(kernel, 'boot', `vmlinuz-${release}`), '-initrd', join(kernel, 'initramfs')],
    ...['-append', `console=ttyS0 quiet panic=-1 -- ${init.join(' ')}`],
  ]);
}

async function ended(machine: ChildProcess, limit: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, limit);
    machine.once('error', reject);
    machine.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[];
    }[];
  }[];
}

function readReport(folder: string): Report {
  const [release = '', version = '', ...rest] = readFileSync(join(folder, 'report'), 'utf8').split('\n');
  const json = rest.join('\n').trim();
  if (!json.endsWith('}')) {
    const last = readFileSync(join(folder, 'console'), 'utf8').slice(-6_000);
    throw new Error(`the machine did not report in time; its console said last:\n${last}`);
  }
  const { testResults } = JSON.parse(json) as VitestReport;
  const files = testResults.map(({ name, status: whole, message, assertionResults }) => {
    const passed = assertionResults.filter(({ status }) => status === 'passed');
    const others = assertionResults.filter(({ status }) => status !== 'passed');
    const failed = others.map(
      ({ fullName, status, failureMessages = [] }) =>
        [fullName, failureMessages.join('\n') || status] as const,
    );
    // One that can't even begin, or can't clean up, has no test that fails.
    if (whole !== 'passed' && failed.length === 0) failed.push(['the file itself', message]);
    return [
      relative(REPOSITORY, name),
      { passed: passed.map(({ fullName }) => fullName), failed: new Map(failed) },
    ] as const;
  });
  return { release, version, files: new Map(files) };
}
