import { Decrypter } from 'age-encryption';
import { expect, test } from 'vitest';
import { blake3 } from '../model/digests.ts';
import { encodeFrameBlocks } from './frame-blocks.ts';
import { BlockKind, type FrameBlock, type SealedFrame } from './intake.ts';
import { generateIdentity, newDataKey, recipientOf, wrapDomain } from './keys.ts';
import { PackBuilder, packName } from './pack.ts';

/** docs/2-formats-blocks.md, "Packs" and "Keys". */
const DOMAIN = '00112233-4455-6677-8899-aabbccddeeff';
const KEY_ID = Buffer.alloc(16, 9);
const block = (byte: number, kind: BlockKind, length: number, children = Buffer.alloc(0)) => ({
  id: Buffer.alloc(32, byte),
  length,
  kind,
  children,
});
const frame = (bytes: string, ...blocks: readonly FrameBlock[]): SealedFrame => ({
  bytes: Buffer.from(bytes),
  checksum: blake3(Buffer.from(bytes)).subarray(0, 16),
  plainLength: 10,
  keyId: KEY_ID,
  index: encodeFrameBlocks(blocks),
});

test('golden bytes of a pack', () => {
  const builder = new PackBuilder(DOMAIN);
  builder.add(frame('first frame', block(1, BlockKind.data, 7), block(2, BlockKind.holes, 3)));
  builder.add(frame('second', block(3, BlockKind.recipe, 10, Buffer.alloc(64, 1))));
  const pack = builder.finish([{ id: KEY_ID, wrapped: Buffer.from('wrapped') }]);
  const bytes = Buffer.concat(pack.parts);
  expect(pack.id).toEqual(blake3(bytes));
  expect(packName(pack.id)).toBe(`packs/${pack.id.toString('hex').slice(0, 2)}/${pack.id.toString('hex')}`);
  expect({ id: pack.id.toString('hex'), bytes: bytes.toString('hex') }).toMatchInlineSnapshot(`
    {
      "bytes": "544d5041434b303100112233445566778899aabbccddeeff6669727374206672616d657365636f6e64010000000909090909090909090909090909090907007772617070656402000000180000000b0000008aac0dd126a177e80a0ae18768e2d316020000000101010101010101010101010101010101010101010101010101010101010101070000000000000202020202020202020202020202020202020202020202020202020202020202030000000200002300000006000000cd85637651ec7a557bddd61c5ddd1df20100000003030303030303030303030303030303030303030303030303030303030303030a0000000102000101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010129000000000000000e01000000000000f7d28bc95227bb14e767db72592eeffc6600e58dec0b47e9a3c797c21cb13a0a544d504b454e4431",
      "id": "3a51b0a7ecc1c648c20ec7d8879692057cd9cec7d9558168d2a1fde87445830c",
    }
  `);
});

test('golden plaintext of the key objects', async () => {
  const identity = await generateIdentity();
  const open = async (file: Buffer) => {
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    return Buffer.from(await decrypter.decrypt(file));
  };
  const domain = {
    id: DOMAIN,
    identity,
    recipient: await recipientOf(identity),
    dedupKey: Buffer.alloc(32, 1),
    digestKey: Buffer.alloc(32, 2),
  };
  const keys = await open(await wrapDomain(domain, [domain.recipient]));
  expect(keys.toString().replace(identity, 'IDENTITY')).toBe(
    '{"v":1,"id":"00112233-4455-6677-8899-aabbccddeeff","identity":"IDENTITY",' +
      '"dedupKey":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",' +
      '"digestKey":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="}',
  );
  const data = await newDataKey(domain);
  expect(await open(data.wrapped)).toEqual(Buffer.concat([data.id, data.key]));
});
