import { randomBytes } from 'node:crypto';
import { workerData } from 'node:worker_threads';
import { EntryWriter } from './entry-writer.ts';
import type { TaskResult, WriterSetup, WriterTask } from './protocol.ts';
import { serveThread } from './serve-thread.ts';
import { TemporaryNames } from './target-file.ts';

/** A thread that writes entries. */
serveThread<WriterTask, TaskResult>((supplier) => {
  const writer = new EntryWriter(workerData as WriterSetup, supplier, new TemporaryNames(randomBytes(6)));
  return (task) => writer.run(task);
});
