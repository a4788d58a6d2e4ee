import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlockKind } from '../../../libs/blocks/intake.ts';
import { acquireEmbeddedPostgres, stopEmbeddedPostgres } from '../../../libs/registry/embedded/index.ts';
import type { Registry } from '../../../libs/registry/port.ts';
import { openPostgresRegistry } from '../../../libs/registry/postgres/open-postgres-registry.ts';
import { hold, type MicroCase, noise } from './case.ts';

const QUESTION = 1000;

async function openRegistry() {
  const home = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'tidemark-micro-'));
  chmodSync(home, 0o711);
  const postgres = await acquireEmbeddedPostgres({ home, onStatus: () => {} });
  const registry = await openPostgresRegistry({ connection: postgres.connection });
  const close = async () => {
    await registry.close();
    await postgres.release();
    await stopEmbeddedPostgres(home);
    rmSync(home, { recursive: true });
  };
  return { registry, close };
}

async function storeBlocks(registry: Registry, ids: readonly Buffer[]): Promise<void> {
  const pack = { id: noise(32, 9), size: 1, keys: [] };
  const place = { pack: pack.id, frameOffset: 24, frameLength: 100, offset: 0, length: 10 };
  const rows = ids.map((id) => ({ ...place, id, kind: BlockKind.data, children: Buffer.alloc(0) }));
  await registry.blocks.beginPack('micro', pack);
  await registry.blocks.finishPack('micro', pack, rows);
}

const lookUps: MicroCase = {
  name: 'index look-ups, 1,000 ids a question',
  unit: 'id',
  async prepare(scale) {
    const { registry, close } = await openRegistry();
    const all = noise(Math.ceil(100_000 * scale) * 32, 3);
    const known = Array.from({ length: all.length / 64 }, (_, i) => all.subarray(i * 64, i * 64 + 32));
    await storeBlocks(registry, known);
    let answers: Uint8Array[] = [];
    return {
      async run() {
        answers = [];
        for (let at = 0; at < all.length; at += QUESTION * 32)
          answers.push(await registry.blocks.present('micro', all.subarray(at, at + QUESTION * 32)));
        return all.length / 32;
      },
      check() {
        const bits = Buffer.concat(answers).subarray(0, known.length * 2);
        hold(
          bits.every((bit, i) => bit === 1 - (i % 2)),
          'every second block is there',
        );
      },
      close,
    };
  },
};

export const indexCases = [lookUps];
