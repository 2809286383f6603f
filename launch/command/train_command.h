#ifndef LAUNCH_COMMAND_TRAIN_COMMAND_H_
#define LAUNCH_COMMAND_TRAIN_COMMAND_H_

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/run/run_start.h"

namespace moe {

// What moe-train was asked to do: print `text`, or, if that is empty, train.
struct TrainCommand {
  std::string text;
  // The text is a dry run's; any other only tells of the program.
  bool dry_run = false;
  // What a run that is started here would surely end with, as a dry run finds
  // it: the first of them first.
  std::vector<absl::Status> refusals;
  TrainConfig config;  // valid, not resolved
  StartOptions start;
  std::vector<std::string> warnings;
  // What --init-from's checkpoint gave, and what gave way to a typed key; a
  // dry run has them in `text`.
  std::vector<std::string> notes;
};

// Everything of moe-train that happens before and without MPI. `world` is the
// number of ranks that the launcher has started. Reads the file of --config,
// what the checkpoint of --init-from says beside its tensors, and the tokenizer
// where it bounds the vocabulary. A dry run, which may take a while, is all
// done here, after `before_dry_run`.
absl::StatusOr<TrainCommand> ParseTrainCommand(
    int argc, const char* const* argv, int world,
    absl::FunctionRef<absl::Status()> before_dry_run = absl::OkStatus);

// What a dry run ends with: the first refusal's code, and the messages of all,
// each on a line of its own that begins with the program.
absl::Status DryRunStatus(const char* program, const TrainCommand& command);

// The warnings and notes, each on a line of its own that a terminal can show.
std::string BeforehandText(const char* program, const TrainCommand& command);

}  // namespace moe

#endif  // LAUNCH_COMMAND_TRAIN_COMMAND_H_
