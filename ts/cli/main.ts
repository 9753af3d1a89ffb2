#!/usr/bin/env node
import { commandLine } from './commands.ts';

await commandLine().parseAsync();
