import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Control, KNOCKIFY, startControl } from '../lab/control.ts';
import { type Lab, openLab } from '../lab/netns.ts';
import { type Outcome, type Program, run, start, until } from '../lab/program.ts';
import { openWorkshop, type Workshop } from './compiled.ts';

export const RUN: readonly string[] = [process.execPath, KNOCKIFY, 'run'];
const SECRET = 'a secret for a command';

export interface Setting {
  readonly env?: Record<string, string>;
  /** What starts the launcher. */
  readonly before?: readonly string[];
}

/** A lab for `knockify run`: the client's namespace has a control process, in the server's every command gets its own. */
export class Launches {
  readonly lab: Lab;
  readonly shop: Workshop;
  readonly control: Control;

  private constructor(lab: Lab, shop: Workshop, control: Control) {
    this.lab = lab;
    this.shop = shop;
    this.control = control;
    mkdirSync(this.temporary);
  }

  static async open(): Promise<Launches> {
    const lab = openLab();
    return new Launches(lab, openWorkshop(), await startControl(lab, lab.client));
  }

  close(): void {
    this.shop.close();
    this.lab.close();
  }

  /** What the launcher of `served` has in its environment. */
  get env(): Record<string, string> {
    return { KNOCK_SECRET: SECRET, KNOCK_CONTROL: this.control.socket };
  }

  /** Where launchers make their directories. */
  get temporary(): string {
    return join(this.shop.directory, 'tmp');
  }

  /** Runs a command where there is a control process already. */
  served(args: readonly string[], { env, before = [] }: Setting = {}): Promise<Outcome> {
    return run(this.lab.client, [...before, ...RUN, ...args], { env: { ...this.env, ...env } });
  }

  /** Starts a command where there is none. */
  alone(args: readonly string[], { env, before = [] }: Setting = {}): Program {
    const ours = { KNOCK_SECRET: SECRET, TMPDIR: this.temporary };
    return start(this.lab.server, [...before, ...RUN, ...args], { env: { ...ours, ...env } });
  }

  leftovers(): string[] {
    return readdirSync(this.temporary);
  }

  /** Process ids of the control processes that launchers have started. */
  controlProcesses(): number[] {
    return execFileSync('ip', ['netns', 'pids', this.lab.server.namespace], { encoding: 'utf8' })
      .split('\n')
      .filter((pid) => commandLine(pid).includes('\0control\0'))
      .map(Number);
  }

  nothingIsLeft(): Promise<void> {
    return until('nothing is left', () => this.leftovers().length + this.controlProcesses().length === 0);
  }
}

function commandLine(pid: string): string {
  try {
    return pid === '' ? '' : readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}
