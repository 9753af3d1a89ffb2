import { once } from 'node:events';
import { ConfigError } from '../../config/error.ts';
import { fingerprint } from '../../stealth/secret.ts';
import { loadLocalPolicy } from '../localPolicy.ts';
import { unpreloaded } from '../preload.ts';
import { folded, pageOf } from '../terminal.ts';
import type { Arrival } from './exchange.ts';
import { type Heard, listenForChecks } from './listener.ts';
import { programEnvironment } from './setup.ts';

/** Serves path checks until it is interrupted. `where` is a port, or an address and a port. Returns the exit status. */
export async function listen(
  where: string,
  { secretFile, json }: { readonly secretFile: string | undefined; readonly json: boolean },
): Promise<number> {
  const { address, port } = parse(where);
  if (unpreloaded(process.env).LD_PRELOAD !== process.env.LD_PRELOAD)
    throw new ConfigError(
      'libknockify.so is preloaded here and would guard the listener: take it out of LD_PRELOAD',
    );
  const { secret } = loadLocalPolicy(programEnvironment(secretFile === undefined ? {} : { secretFile }));
  const say = (text: string, fields: object) =>
    process.stdout.write(
      json
        ? `${JSON.stringify(fields)}\n`
        : `${folded(pageOf(process.stdout), text, { text: '', indent: 2 })}\n`,
    );
  const server = listenForChecks(address, port, secret, (what) => say(heardText(what), what));
  await once(server, 'listening');
  const print = fingerprint(secret);
  say(`open to everybody: port ${port}, for path checks (secret ${print}); Ctrl-C ends it`, {
    ...{ port, fingerprint: print },
  });
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());
  await once(interrupted.signal, 'abort');
  secret.fill(0);
  server.close();
  return 0;
}

function parse(where: string): { readonly address: string | undefined; readonly port: number } {
  const [, bracketed, bare, digits = ''] = /^(?:(?:\[([^\]]+)\]|([^:[\]]+)):)?(\d{1,5})$/.exec(where) ?? [];
  const port = Number(digits);
  if (port < 1 || port > 0xffff)
    throw new ConfigError(
      `--listen ${where}: a port from 1 to 65535 is wanted, or an address, a colon and a port`,
    );
  return { address: bracketed ?? bare, port };
}

function heardText({ from, arrival }: Heard): string {
  return arrival === undefined
    ? `${from}: it has another secret, or none`
    : `${from}: told what arrived: ${synText(arrival)}`;
}

function synText({ destination, destinationPort, isn, tsval }: Arrival): string {
  const hex = (value: number) => `0x${value.toString(16).padStart(8, '0')}`;
  const stamp = tsval === undefined ? 'no timestamp' : `timestamp ${hex(tsval)}`;
  return `ISN ${hex(isn)}, ${stamp}, to ${destination} port ${destinationPort}`;
}
