/** A message that is larger is refused (TM1511). */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
/** What messages are made to stay below; only a single huge record may be larger. */
const WANTED_MESSAGE_BYTES = 512 * 1024;
/** Records in a message. */
export const MAX_RECORDS = 1000;

/** Of the records of a message: JSON with its head left out, and in binary form. */
export const WANTED_BODY_SIZE = WANTED_MESSAGE_BYTES - 1024;
export const MAX_BODY_BYTES = 384 * 1024;
