/**
 * The warnings of successful replies (`warnings` of the envelope): the request was accepted, but a part of it is not done as requested. Such a part is
 * either refused with 422 or named by a warning; nothing is changed silently.
 */
export const warnings = {
  VOICE_NOT_CONVERTED: 'The audio was not converted to Ogg/Opus and is sent as it is. Some phones may not play it.',
  FILENAME_CHANGED: 'The file name was changed so that every system can store and open the file.',
  STICKER_NOT_ANIMATED:
    'Only the first picture of an animated image becomes a sticker. Send an animated WebP, or install ffmpeg beside the backend.',
  EXPIRES_EARLIER: 'expiresAt lies beyond the setting maxQueueAgeHours of the session, which counts.',
  INTERACTIVE_DEPRECATED:
    'WhatsApp no longer delivers lists and buttons. The message is sent as a text with numbered options; an answer is reported as selectedOption.',
  PREVIEW_NOT_GUARANTEED:
    'The link preview is sent as given. WhatsApp and the recipient’s phone decide whether and how it is shown.',
  RECIPIENTS_SKIPPED:
    'Some recipients get no message. GET /messages/bulk/:bulkId/recipients?status=skipped names them and the reasons.',
  RECIPIENT_OPTED_OUT: 'The recipient has opted out. The message was accepted all the same; bulk jobs skip this person.',
  SCHEDULE_TIME_SKIPPED:
    'Clocks in this time zone are set forward over the given time, so that no clock shows it. It is moved forward by as much.',
  SCHEDULE_TIME_TWICE: 'Clocks in this time zone are set back, so that the given time occurs twice. The first time counts.',
  PAIRING_CODE_NOT_REQUESTED: 'No pairing code was requested, because the session does not wait for a scan.',
} as const;

export type WarningCode = keyof typeof warnings;
export interface Warning {
  code: WarningCode;
  message: string;
}

/** Returns a warning with its sentence from the table, followed by `detail` if there is one. */
export const warning = (code: WarningCode, detail?: string): Warning => ({
  code,
  message: detail ? `${warnings[code]} ${detail}` : warnings[code],
});
