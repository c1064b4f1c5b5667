// Loaded into every test process (test/run.ts): a test whose runner was killed ends, and with it what it started.
import { isMainThread } from 'node:worker_threads';

const parent = process.ppid;
if (isMainThread) setInterval(() => process.ppid === parent || process.exit(1), 500).unref();
