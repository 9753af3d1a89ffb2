import { calls } from '../spec/calls.ts';
import { keepCurrent } from './committed.ts';
import { buildCallTable, buildStateDiagram } from './docs.ts';
import { buildMessagesHeader } from './messages.ts';
import { buildOriginalsHeader, buildOriginalsSource } from './originals.ts';
import { buildVersionScript, buildWrappers } from './wrappers.ts';

keepCurrent({
  'shim/generated/messages.h': buildMessagesHeader(),
  'shim/generated/originals.h': buildOriginalsHeader(calls),
  'shim/generated/originals.c': buildOriginalsSource(calls),
  'shim/generated/wrappers.c': buildWrappers(calls),
  'shim/generated/libknockify.map': buildVersionScript(calls),
  'docs/calls.md': buildCallTable(calls),
  'docs/delayed-connect.md': buildStateDiagram(),
});
