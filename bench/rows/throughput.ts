import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Knock, type Program, start, until, untilListening } from '../../test/lab/program.ts';
import { type Bench, timeOf } from '../bench.ts';
import { atLeast, compared, type Figure, type Row } from '../row.ts';
import { interleaved, type Round } from '../statistics.ts';

const PORTS = { stealth: 7071, plain: 7072 } as const;
/** The one congestion control that is always there; BBR, where it is the default, measures itself. */
const CONGESTION = 'reno';
/** Milliseconds until one that goes on has its pace again, and one that was halted has nothing more on its way. */
const SETTLING = 10;
/** Bytes after which all connections of a transfer are there. */
const UNDER_WAY = 1e8;

/** Connections of one client, which are halted and go on. */
interface Transfer {
  readonly client: Program;
  readonly server: Program;
}

/** Bytes that the client's interface has sent. */
function sentBy({ client }: Transfer): number {
  const line = new RegExp(`${client.host.device}:(.*)`).exec(
    readFileSync(`/proc/${client.pid}/net/dev`, 'latin1'),
  );
  return Number(line?.[1]?.trim().split(/\s+/)[8]);
}

async function open(bench: Bench, port: number, streams: number, knocks: boolean): Promise<Transfer> {
  const { client, server } = bench.stealth;
  const knock = (host: typeof client): Knock | undefined => (knocks ? bench.stealth.knock(host) : undefined);
  const served = start(server, ['iperf3', '-s', '-p', String(port)], { knock: knock(server) });
  await untilListening(served, port);
  const to = ['-c', server.addresses.ipv4, '-p', String(port)];
  const how = ['-P', String(streams), '-C', CONGESTION, '-t', '3600', '-i', '0'];
  const transfer = {
    client: start(client, ['iperf3', ...to, ...how], { knock: knock(client) }),
    server: served,
  };
  // As long as it is not in its namespace its interface is not there.
  let first = Number.NaN;
  await until('a transfer', () => {
    const sent = sentBy(transfer);
    if (Number.isNaN(first)) first = sent;
    return sent - first > UNDER_WAY || !transfer.client.isRunning();
  });
  transfer.client.child.kill('SIGSTOP');
  return transfer;
}

/** What a transfer does while it may. */
interface Pace {
  /** Gbit/s. */
  readonly rate: number;
  /** Megabytes for a second of the CPU time of both ends. */
  readonly forTime: number;
}

async function paceOf(transfer: Transfer, seconds: number): Promise<Pace> {
  const { client, server } = transfer;
  const sample = () => ({
    bytes: sentBy(transfer),
    cpu: timeOf(client) + timeOf(server),
    at: performance.now(),
  });
  client.child.kill('SIGCONT');
  await sleep(SETTLING);
  const before = sample();
  await sleep(1_000 * seconds);
  const after = sample();
  client.child.kill('SIGSTOP');
  await sleep(SETTLING);
  if (!client.isRunning() || !server.isRunning())
    throw new Error(`iperf3: ${client.stderr()}${server.stderr()}`);
  const bytes = after.bytes - before.bytes;
  return {
    rate: (8 * bytes) / 1e6 / (after.at - before.at),
    forTime: (1e3 * bytes) / (after.cpu - before.cpu),
  };
}

async function compare(bench: Bench, streams: number): Promise<Figure[]> {
  const { rounds, seconds } = bench.short;
  const stealth = await open(bench, PORTS.stealth, streams, true);
  const plain = await open(bench, PORTS.plain, streams, false);
  const forTime: Round[] = [];
  let [value, baseline] = [Number.NaN, Number.NaN];
  const rates = await interleaved(
    rounds,
    async () => {
      const pace = await paceOf(stealth, seconds);
      value = pace.forTime;
      return pace.rate;
    },
    async () => {
      const pace = await paceOf(plain, seconds);
      baseline = pace.forTime;
      return pace.rate;
    },
    () => forTime.push({ value, baseline }),
  );
  for (const { client, server } of [stealth, plain]) {
    client.child.kill('SIGCONT');
    await bench.stop(client, server);
  }
  const name = streams === 1 ? '1 stream' : `${streams} streams`;
  return [
    ...compared(`throughput, ${name}`, 'Gbit/s', rates, atLeast(0.99)),
    ...compared(`bytes for the CPU time, ${name}`, 'MB/s', forTime, atLeast(0.99)),
  ];
}

export const throughput: Row = {
  id: 'throughput',
  title: 'throughput and CPU time per byte of established connections (iperf3)',
  baseline: 'connections of programs without the library, in turns of a twentieth of a second',
  async measure(bench) {
    return { figures: [...(await compare(bench, 1)), ...(await compare(bench, 16))] };
  },
};
