import { defineRoute, maxWord, optOut, paging, type ErrorCode } from '@chasqui/shared';
import { z } from 'zod';

/** The maximum number of people that one import names. */
export const maxImported = 10_000;

const contactText = z.string().min(1).max(80);
const invalid: readonly ErrorCode[] = ['INVALID_RECIPIENT'];

export const list = defineRoute({
  id: 'optOuts.list',
  method: 'get',
  path: '/opt-outs',
  summary: 'People who opted out, the last one first. `search` is an id of a person or a part of a number',
  auth: 'key',
  permission: 'optouts.read',
  query: z.strictObject({ search: z.string().min(1).max(80).optional(), ...paging }),
  reply: z.array(optOut),
});
export const add = defineRoute({
  id: 'optOuts.add',
  method: 'post',
  path: '/opt-outs',
  summary: 'Opt people out. Those who are out already stay as they are',
  auth: 'key',
  permission: 'optouts.manage',
  body: z.strictObject({ contacts: z.array(contactText).min(1).max(500) }).meta({ examples: [{ contacts: ['+5511999990001'] }] }),
  status: 201,
  reply: z.array(optOut),
  errors: invalid,
});

const words = z.array(z.string().min(1).max(maxWord)).max(50);
const reply = z.string().min(1).max(4_096).nullable();
const language = z
  .string()
  .max(35)
  .regex(/^[a-z]{2,3}(?:-[a-z0-9]{2,8})*$/i, 'Write a language such as pt or pt-BR.');
const wordSet = { out: words, in: words, replyOut: reply, replyIn: reply };
const languages = z.record(
  language,
  z.strictObject({ out: words.default([]), in: words.default([]), replyOut: reply.default(null), replyIn: reply.default(null) }),
);
const ofLanguages = languages.refine((value) => Object.keys(value).length <= 20, 'At most 20 languages.');
/** All keywords and answers, for the panel. */
export const keywordFields = z.strictObject({ ...wordSet, languages: ofLanguages });
const keywords = z.object({ ...wordSet, languages: z.record(z.string(), z.object(wordSet)) }).meta({ id: 'OptOutKeywords' });

export const readKeywords = defineRoute({
  id: 'optOuts.keywords',
  method: 'get',
  path: '/opt-outs/keywords',
  summary: 'The words with which people opt out and in, and the answers to them',
  auth: 'key',
  permission: 'optouts.read',
  reply: keywords,
});
export const changeKeywords = defineRoute({
  id: 'optOuts.setKeywords',
  method: 'put',
  path: '/opt-outs/keywords',
  summary: 'Change the words and the answers. An empty list switches words off; `languages` is replaced as a whole',
  auth: 'acc',
  permission: 'optouts.manage',
  body: z
    .strictObject({
      out: words.optional(),
      in: words.optional(),
      replyOut: reply.optional(),
      replyIn: reply.optional(),
      languages: ofLanguages.optional(),
    })
    .meta({ examples: [{ out: ['STOP'], replyOut: 'You will get no more messages.' }] }),
  reply: keywords,
});

export const exportAll = defineRoute({
  id: 'optOuts.export',
  method: 'get',
  path: '/opt-outs/export',
  summary: 'All opt-outs as one file',
  auth: 'key',
  permission: 'optouts.read',
  query: z.strictObject({ format: z.enum(['csv', 'json']).default('csv') }),
  files: ['text/csv', 'application/json'],
  envelope: false,
});
export const importAll = defineRoute({
  id: 'optOuts.import',
  method: 'post',
  path: '/opt-outs/import',
  summary: `Opt out up to ${maxImported} people, from a list or a file (CSV, or a JSON list). Lines without a valid person are reported; the others are added`,
  auth: 'key',
  permission: 'optouts.manage',
  consumes: 'upload',
  body: z.strictObject({ contacts: z.array(z.string().max(80)).max(maxImported).optional() }).meta({
    examples: [{ contacts: ['+5511999990001', '184467440737@lid'] }],
  }),
  reply: z.object({
    added: z.number().int(),
    known: z.number().int(),
    /** At most 1,000. `row` counts from 1, the header of a CSV included. */
    invalid: z.array(z.object({ row: z.number().int(), input: z.string(), message: z.string() })),
  }),
  errors: ['FILE_TOO_LARGE'],
});

const params = z.object({
  contact: z
    .string()
    .min(1)
    .max(80)
    .meta({ examples: ['5511999990001'] }),
});
export const read = defineRoute({
  id: 'optOuts.read',
  method: 'get',
  path: '/opt-outs/:contact',
  summary: 'One opt-out, by any id of the person',
  auth: 'key',
  permission: 'optouts.read',
  params,
  reply: optOut,
  errors: ['OPT_OUT_NOT_FOUND', ...invalid],
});
export const remove = defineRoute({
  id: 'optOuts.remove',
  method: 'delete',
  path: '/opt-outs/:contact',
  summary: 'Remove an opt-out, by any id of the person',
  auth: 'key',
  permission: 'optouts.manage',
  params,
  reply: z.object({ deleted: z.literal(true) }),
  errors: ['OPT_OUT_NOT_FOUND', ...invalid],
});
