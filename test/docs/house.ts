import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { KNOCKIFY } from '../lab/control.ts';
import { type Host, type Lab, openLab } from '../lab/netns.ts';
import {
  LIBRARY,
  type Outcome,
  type Program,
  REPOSITORY,
  run,
  start,
  until,
  untilSays,
} from '../lab/program.ts';

/**
 * Two machines to try the documents' commands on, as they stand there: the namespaces of a lab, each with an /etc, a
 * /run and a home of its own, in which knockify is a command, and the library is where the loader finds it.
 */
export interface House {
  readonly lab: Lab;
  /** Runs a script to its end, which is the first command that fails. */
  run(host: Host, script: string, input?: string): Promise<Outcome>;
  /** Starts one that goes on, and waits until it says something. */
  start(host: Host, script: string, says?: string): Promise<Program>;
  /** Of a process that lives there. */
  pid(host: Host): number;
  close(): void;
}

/** A busy machine takes its time. Milliseconds. */
const PATIENCE = 30_000;

const SET_UP = `
  mount -t tmpfs -o mode=755 house "$HOUSE"
  mkdir "$HOUSE/changes" "$HOUSE/work" "$HOUSE/home" "$HOUSE/bin"
  mount -t overlay -o "lowerdir=/etc,upperdir=$HOUSE/changes,workdir=$HOUSE/work" overlay /etc
  mount -t tmpfs -o mode=755 run /run
  mkdir -m 755 /run/sshd
  echo 192.0.2.2 server >>/etc/hosts
  echo knockify:x:64000: >>/etc/group
  printf '#!/bin/sh\\nexec %s %s "$@"\\n' "$NODE" "$MAIN" >"$HOUSE/bin/knockify"
  chmod 755 "$HOUSE/bin/knockify"
  echo ready
  exec sleep 3600`;

export async function openHouse(): Promise<House> {
  const lab = openLab();
  try {
    const [client, server] = await Promise.all([furnish(lab, lab.client), furnish(lab, lab.server)]);
    const rooms = { client, server };
    const command = (host: Host, script: string) => [...rooms[host.name].enter, 'bash', '-ec', script];
    return {
      lab,
      run: (host, script, input) =>
        run(host, command(host, script), { input, cwd: REPOSITORY, timeout: PATIENCE }),
      start: async (host, script, says) => {
        const program = start(host, command(host, script), { cwd: REPOSITORY });
        if (says !== undefined) await untilSays(program, says, PATIENCE);
        return program;
      },
      pid: (host) => rooms[host.name].pid,
      close: () => lab.close(),
    };
  } catch (error) {
    lab.close();
    throw error;
  }
}

interface Room {
  readonly pid: number;
  /** The command that gets in. */
  readonly enter: readonly string[];
}

async function furnish(lab: Lab, host: Host): Promise<Room> {
  const directory = join(lab.directory, `house-${host.name}`);
  mkdirSync(directory);
  const env = { HOUSE: directory, NODE: process.execPath, MAIN: KNOCKIFY };
  // `ip netns exec` has given it a mount namespace of its own, from which nothing gets out.
  const { pid, ...holder } = start(host, ['bash', '-ec', SET_UP], { env });
  await until('the house is furnished', () => holder.stdout().includes('ready') || !holder.isRunning());
  if (!holder.isRunning()) throw new Error(holder.stderr());
  const library = `LD_LIBRARY_PATH=${dirname(LIBRARY)}`;
  const path = `PATH=${directory}/bin:/usr/sbin:/usr/bin:/sbin:/bin`;
  const enter = ['nsenter', `--target=${pid}`, '--mount', 'env', `HOME=${directory}/home`, path, library];
  return { pid, enter };
}
