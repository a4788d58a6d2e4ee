import { Chunker } from '../../../libs/blocks/chunker.ts';
import { hold, MIB, type MicroCase, noise } from './case.ts';

const PARAMS = { min: 16 * 1024, avg: 64 * 1024, max: 256 * 1024 };

function cutsOf(chunker: Chunker, bytes: Buffer, length: number): number[] {
  const cuts: number[] = [];
  for (let at = 0; at < length; ) {
    at = chunker.cut(bytes, at, length, true);
    cuts.push(at);
  }
  return cuts;
}

/** Bytes in the chunker's own memory are scanned by WebAssembly, others by JavaScript. */
const chunker = (name: string, isNative: boolean): MicroCase => ({
  name,
  unit: 'byte',
  prepare(scale) {
    const length = Math.ceil(32 * MIB * scale);
    const data = noise(length);
    const one = new Chunker(Buffer.alloc(32, 5), PARAMS, length);
    data.copy(one.buffer);
    const bytes = isNative ? one.buffer : data;
    let cuts: number[] = [];
    return {
      run() {
        cuts = cutsOf(one, bytes, length);
        return length;
      },
      check() {
        hold(one.isNative || !isNative, 'WebAssembly is there');
        hold(cuts.at(-1) === length, 'the pieces are all of it');
        hold(String(cuts) === String(cutsOf(one, isNative ? data : one.buffer, length)), 'both cut alike');
      },
    };
  },
});

export const chunkerCases = [chunker('chunker', true), chunker('chunker without WebAssembly', false)];
