const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${UNITS[unit]}`;
}

/** 5 s, 1:05 min, 2:03 h. */
export function formatDuration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const [unit, large] = whole < 3600 ? ['min', 60] : ['h', 3600];
  const small = Math.floor((whole % large) / (large / 60));
  return `${Math.floor(whole / large)}:${String(small).padStart(2, '0')} ${unit}`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is escaped
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;
const NO_UTF8 = /\p{Surrogate}/gu;

/** A message may quote names: what would steer the terminal, and bytes that are no UTF-8, are escaped. */
export function messageToDisplay(message: string): string {
  const escaped = (unit: string): string => {
    const code = unit.codePointAt(0)!;
    if (unit === '\n') return '\\n';
    const byte = code >= 0xdc80 && code <= 0xdcff ? code - 0xdc00 : code;
    return byte < 0x100 ? `\\x${byte.toString(16).padStart(2, '0')}` : `\\u{${byte.toString(16)}}`;
  };
  return message.replace(CONTROLS, escaped).replace(NO_UTF8, escaped);
}
