/** What the other packages may import. Names that only `shared` uses stay inside. */
export {
  bulkCheck,
  type BulkCheck,
  bulkCounts,
  type BulkCounts,
  bulkJob,
  type BulkJobDetails,
  bulkJobDetails,
  type BulkJobResource,
  bulkMoves,
  type BulkReason,
  bulkReasons,
  bulkRecipient,
  type BulkRecipientResource,
  type BulkRecipientStatus,
  bulkRecipientStatuses,
  type BulkStatus,
  bulkStatuses,
  type SkipReason,
  skipReasons,
} from './bulk.js';
export { createClient, type Transport } from './client.js';
export { AppError, type ErrorCode, errorTable, type FieldError, isErrorCode, validationError } from './errors.js';
export { fieldErrors } from './field-errors.js';
export {
  alternativeNames,
  event,
  eventCatalogue,
  type EventData,
  type EventResource,
  type EventType,
  eventTypes,
  typesNamed,
} from './events.js';
export { eventSamples } from './event-samples.js';
export { replyHeaders, requestHeaders } from './headers.js';
export { type MetricName, type MetricRow, metricTable } from './metrics.js';
export {
  type Address,
  digitsOf,
  isCallingCode,
  isId,
  isSessionName,
  maskAddress,
  newId,
  parseAddress,
  parseMessageKey,
  parsePhoneNumber,
  parseRecipient,
  phoneAddress,
  phoneOf,
  reservedIdKinds,
  reserveWhatsappId,
} from './ids.js';
export { commaList, decimal, findUnfit, instant, whole } from './input.js';
export { calendarChangeFields } from './message-types/calendar-event.js';
export { forwardedContent } from './message-types/forward.js';
export {
  type CardInput,
  cardsOf,
  chosenOption,
  type FileOption,
  fileOptionFields,
  fileOptionNames,
  type FileOptionValues,
  fileSourceFields,
  fileSpecOf,
  isMediaType,
  type KnownPerson,
  type LinkPreview,
  mediaOf,
  type MediaRef,
  type MediaType,
  mediaTypes,
  messageContent,
  type MessageContent,
  type MessageType,
  messageTypes,
  messageTypeTable,
  observedContent,
  type ObservedContent,
  optionsOf,
  placeholders,
  renderedTypes,
  requestOf,
  type RequestType,
  requestTypes,
  selectedOption,
  selectedOptionOf,
  type SentType,
  type StoredContent,
  textOf,
} from './message-types/index.js';
export { deliveryWarnings } from './message-types/delivery-warnings.js';
export { thumbnailTypeOf, type ThumbnailType } from './thumbnail.js';
export { chatTypeOf, observedMessage, type ObservedMessage, storableId, storableText } from './observed.js';
export { openapi, parameterExampleOf, requestExamplesOf } from './openapi/document.js';
export { exampleIds, exampleOf, soonToken, withSoon } from './openapi/example.js';
export { postmanCollection } from './openapi/postman.js';
export { errorsOf, replyExampleOf } from './openapi/replies.js';
export {
  type AddressRole,
  changeErrors,
  type ChannelResource,
  fileErrors,
  type GroupResource,
  isOperationId,
  type Operation,
  operationErrors,
  type OperationId,
  type OperationIdOf,
  operationIds,
  type OperationInput,
  type CommunityResource,
  type OperationNoun,
  type OperationOutput,
  operationRoute,
  operationRoutes,
  operations,
  type ParticipantResult,
  type SeenMessage,
} from './operations/index.js';
export {
  isCron,
  isJobName,
  type Job,
  jobCatalogue,
  type JobName,
  jobNames,
  type JobRunStatus,
  jobRunStatuses,
  type JobSchedules,
  type JobTrigger,
  jobTriggers,
} from './jobs.js';
export { comparedNameLength, contactCursorAfter, readContactCursor, type ContactPlace } from './contact-cursor.js';
export { listCursor, pageMeta, paging, queryFlag } from './paging.js';
export { foldText, maxWord, wordOf } from './fold.js';
export { erased, withoutContent } from './privacy.js';
export { allows, isPermission, type Permission, permissionCatalogue, permissionGroups, permissions } from './permissions.js';
export {
  account,
  type AccountResource,
  auditEntry,
  capability,
  type Capability,
  chat,
  chatRef,
  type ChatRef,
  type ChatResource,
  compatReport,
  type CompatReport,
  compatStates,
  contact,
  type Contact,
  type ContactDetails,
  type FoundMessageResource,
  label,
  type LabelResource,
  type LookupResult,
  lookupResults,
  media,
  message,
  type MessageOrigin,
  messageOrigins,
  type MessageResource,
  messageTemplate,
  type MessageTemplateResource,
  optOut,
  type OptOutResource,
  passkeyAnswer,
  type PasskeyAnswer,
  passkeyRequest,
  type PasskeyRequest,
  plan,
  profile,
  ownOrigins,
  quota,
  reason,
  type Reason,
  session,
  sessionProxy,
  type SessionProxyResource,
  type SessionResource,
  sessionSettings,
  unsetSettings,
  type SessionSettings,
  qrCodeDoc,
  qrTextDoc,
  sessionStatus,
  type SessionStatusResource,
  timelineEntry,
  token,
} from './resources.js';
export { parseProxyUrl, type ProxyAddress, proxyProtocols, type ProxyProtocol, proxyUrl } from './proxy.js';
export {
  type AnyRoute,
  defineRoute,
  type IdempotencyRule,
  type InputOf,
  type Method,
  type OutputOf,
  type RouteInput,
  withAliases,
} from './route.js';
export { schedule, type ScheduleResource } from './schedule.js';
export {
  restriction,
  type Restriction,
  type RestrictionKind,
  restrictionKinds,
  selfCheck,
  loginCopy,
  type LoginCopy,
  type SelfCheck,
  sessionHealth,
  type SessionHealth,
  sessionMetricsResource,
  type SessionMetricsResource,
} from './session-health.js';
export { type QuietHours, timezoneName, type WarmUp, weekdays } from './session-times.js';
export { isCloseName } from './close-names.js';
export { unknownSettings } from './setting-names.js';
export { isLanguage, readSettings, type Setting, settings, type Settings, SettingsError } from './settings.js';
export {
  ackOfStatus,
  machineReasons,
  messageMoves,
  type MessageReason,
  messageReasons,
  messageSources,
  type MessageStatus,
  messageStatuses,
  retryableReasons,
  sessionMoves,
  type SessionReason,
  sessionReasons,
  sessionSources,
  type SessionStatus,
  sessionStatuses,
  statusOfAck,
  uncertainReasons,
  waitingReasons,
} from './states.js';
export {
  statistics,
  type StatisticsOfDayResource,
  statisticsOfDay,
  type StatisticsReportResource,
  statisticsReport,
  type StatisticsResource,
} from './statistics.js';
export { type StorageMode, storageModes } from './storage-modes.js';
export { isTimezone } from './timezones.js';
export { parseUrl } from './url.js';
export { type Warning, warning, warnings } from './warnings.js';
export { isSameAccount, type WhatsappAccount } from './whatsapp-account.js';
export {
  backendInternalRoutes,
  caughtUp,
  type CaughtUp,
  heartbeat,
  type Heartbeat,
  type HeartbeatReply,
  type InternalOperationId,
  internalOperations,
  isWorkerEventType,
  observedSession,
  type ObservedSession,
  type OutletEvent,
  type SendCommand,
  sendOutcome,
  type SendOutcome,
  type WorkerEventPayload,
  workerEvents,
  type WorkerEventType,
  type WorkerProblem,
  type WorkerProblemCode,
  workerProblems,
  workerRoutes,
  type WorkerSettings,
  sendDeadline,
} from './worker-api.js';
