// The operators whose tasks the page shows, and what their XComs hold.
//
// | kind    | XComs                                                                       |
// |---------|-----------------------------------------------------------------------------|
// | job     | while it runs: progress, estimate; at the end: the manifest (return_value)  |
// | batch   | receipt                                                                     |
// | landing | the manifest (return_value)                                                 |
// | wait    | batch_id                                                                    |

export type Kind = "job" | "batch" | "landing" | "wait";

export const OPERATORS: Readonly<Record<string, Kind>> = {
  MessageBatchJobOperator: "job",
  MessageBatchSubmitOperator: "batch",
  _MessageBatchDecoratedOperator: "batch",
  _MessageBatchJobDecoratedOperator: "job",
  MessageBatchResultsOperator: "landing",
  MessageBatchSensor: "wait",
};

export const MANIFEST = "return_value";
export const RECEIPT = "receipt";
export const BATCH_ID = "batch_id";
export const PROGRESS = "progress";
export const ESTIMATE = "estimate";
