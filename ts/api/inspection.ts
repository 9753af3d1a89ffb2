import type { Server } from 'node:net';
import { actionOf, withSession } from './controlSession.ts';
import { StealthError } from './errors.ts';

/**
 * What Node keeps behind a listening `net.Server` and behind an accepted connection. Not documented, but the one place
 * where a connection is accepted and nothing of it is read yet.
 */
interface Handle {
  readonly fd: number;
  onconnection(this: Handle, status: number, client?: Handle): void;
  /** Closes with a reset. */
  reset(): void;
}

function handleOf(server: Server): Handle | undefined {
  return (server as unknown as { readonly _handle?: Handle | null })._handle ?? undefined;
}

/**
 * From now on the server sees a connection only once the control process has found the protected bytes in its first
 * segment; any other is reset. Everything else about the server stays Node's own. False where this Node is not made
 * so: then nothing has changed. To be called in the turn in which the server begins to listen.
 */
export function inspectConnections(server: Server, control: string): boolean {
  const listener = handleOf(server);
  if (typeof listener?.onconnection !== 'function' || typeof listener.reset !== 'function') return false;
  const { onconnection } = listener;
  listener.onconnection = (status, client) => {
    if (status !== 0 || client === undefined) {
      onconnection.call(listener, status, client);
      return;
    }
    passes(client.fd, listener.fd, control).then((passed) => {
      // The server may have been closed meanwhile.
      if (passed && handleOf(server) === listener) onconnection.call(listener, status, client);
      else client.reset();
    });
  };
  return true;
}

/** Never rejects: what could not be inspected does not pass. */
async function passes(connection: number, listener: number, control: string): Promise<boolean> {
  const { signal } = new AbortController();
  try {
    return await withSession({ call: 'accept', control, signal }, async (session) => {
      const verdict = await session.ask({ kind: 'accepted' }, [connection, listener]);
      if (actionOf(verdict) !== 'pass' && verdict.text.length > 0)
        throw new StealthError('accept', Buffer.from(verdict.text).toString());
      return actionOf(verdict) === 'pass';
    });
  } catch (error) {
    process.emitWarning(`${error instanceof Error ? error.message : error}`, 'StealthWarning');
    return false;
  }
}
