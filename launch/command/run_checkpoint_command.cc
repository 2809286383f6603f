#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "comm/base/status_macros.h"
#include "launch/command/checkpoint_command.h"
#include "launch/command/checkpoint_text.h"
#include "launch/command/inspect_checkpoint.h"
#include "trainer/checkpoint/tools/checkpoint_audit.h"
#include "trainer/checkpoint/tools/checkpoint_diff.h"
#include "trainer/checkpoint/tools/checkpoint_list.h"
#include "trainer/config/units.h"

namespace moe {
namespace {

using Action = CheckpointCommand::Action;

CheckpointOutcome Outcome(absl::StatusOr<std::string> text) {
  CheckpointOutcome outcome;
  outcome.status = text.status();
  if (text.ok()) outcome.text = *std::move(text);
  return outcome;
}

absl::StatusOr<std::string> List(FileSystem& files,
                                 const CheckpointCommand& command) {
  ASSIGN_OR_RETURN(const std::vector<ListedCheckpoint> all,
                   ListCheckpoints(files, command.paths[0]));
  return command.json ? ListJson(all) : ListText(all);
}

// What is wrong with several: "damaged" where all of them are.
absl::string_view TroubleOf(const std::vector<CheckpointAudit>& faulty) {
  for (const CheckpointAudit& audit : faulty)
    if (audit.trouble != faulty.front().trouble) return "not whole";
  return Name(faulty.front().trouble);
}

// One line on what AuditText tells in full.
absl::Status FaultStatus(const std::vector<CheckpointAudit>& faulty,
                         size_t num_checked) {
  if (faulty.empty()) return absl::OkStatus();
  const CheckpointAudit& first = faulty.front();
  std::string message =
      num_checked == 1
          ? absl::StrCat(first.path, " is ", TroubleOf(faulty), ": ")
          : absl::StrCat(faulty.size(), " of ", num_checked, " checkpoints ",
                         faulty.size() == 1 ? "is " : "are ", TroubleOf(faulty),
                         ": ", first.path, ": ");
  absl::StrAppend(&message, first.problems.front());
  if (first.problems.size() > 1)
    absl::StrAppend(&message, ", and ", first.problems.size() - 1, " more");
  return absl::DataLossError(message);
}

// Of several, one that cannot be found or is of a newer version of this program
// is told of like one that is damaged.
CheckpointOutcome Verify(FileSystem& files, const CheckpointCommand& command,
                         const ProgressFunction& progress) {
  CheckpointOutcome outcome;
  std::vector<CheckpointAudit> faulty;
  for (const std::string& path : command.paths) {
    absl::StatusOr<CheckpointAudit> audit =
        AuditCheckpoint(files, path, command.threads, progress);
    outcome.status = audit.status();
    if (!audit.ok() && command.paths.size() == 1) return outcome;
    if (!audit.ok()) {
      audit =
          CheckpointAudit{.path = path,
                          .trouble = absl::IsUnimplemented(outcome.status)
                                         ? CheckpointAudit::Trouble::kNewer
                                         : CheckpointAudit::Trouble::kNotThere};
      absl::string_view problem = outcome.status.message();
      absl::ConsumePrefix(&problem, absl::StrCat(path, ": "));
      audit->problems.push_back(WithoutDirectory(problem, path));
    }
    outcome.text += command.json ? AuditJson(*audit) : AuditText(*audit);
    if (!audit->problems.empty()) faulty.push_back(*std::move(audit));
  }
  outcome.status = FaultStatus(faulty, command.paths.size());
  return outcome;
}

absl::StatusOr<StoredCheckpoint> OpenVerified(
    FileSystem& files, const CheckpointCommand& command,
    const std::string& path, const ProgressFunction& progress) {
  ASSIGN_OR_RETURN(StoredCheckpoint stored, OpenStoredCheckpoint(files, path));
  const Verified what =
      command.optimizer ? Verified::kWeightsAndMoments : Verified::kWeights;
  RETURN_IF_ERROR(
      VerifyAsWritten(files, stored.path, what, command.threads, progress));
  return stored;
}

CheckpointOutcome Diff(FileSystem& files, const CheckpointCommand& command,
                       const ProgressFunction& progress) {
  CheckpointOutcome outcome;
  const auto a = OpenVerified(files, command, command.paths[0], progress);
  outcome.status = a.status();
  if (!a.ok()) return outcome;
  const auto b = OpenVerified(files, command, command.paths[1], progress);
  outcome.status = b.status();
  if (!b.ok()) return outcome;
  const auto differences = DiffCheckpoints(
      *a, *b, {.optimizer = command.optimizer, .threads = command.threads},
      progress);
  outcome.status = differences.status();
  if (!differences.ok()) return outcome;
  for (const TensorDifference& difference : *differences)
    if (difference.kind != TensorDifference::Kind::kEqual)
      outcome.differs = true;
  outcome.text = command.json ? DiffJson(*differences) : DiffText(*differences);
  return outcome;
}

absl::StatusOr<std::string> Export(FileSystem& files,
                                   const CheckpointCommand& command,
                                   const ProgressFunction& progress) {
  ASSIGN_OR_RETURN(const StoredCheckpoint stored,
                   OpenStoredCheckpoint(files, command.paths[0]));
  ExportOptions options = command.export_options;
  options.threads = command.threads;
  ASSIGN_OR_RETURN(const ExportedCheckpoint exported,
                   ExportCheckpoint(files, stored, options, progress));
  const size_t num_files = exported.weight_files.size();
  return absl::StrCat(options.output, ": ", exported.num_tensors,
                      " tensors of ", stored.path, " in ",
                      HuggingFaceDTypeName(options.dtype), ", ",
                      FormatBytes(exported.num_bytes), " in ", num_files,
                      num_files == 1 ? " file\n" : " files\n");
}

}  // namespace

CheckpointOutcome RunCheckpointCommand(FileSystem& files,
                                       const CheckpointCommand& command,
                                       const ProgressFunction& progress) {
  switch (command.action) {
    case Action::kList:
      return Outcome(List(files, command));
    case Action::kInspect:
      return Outcome(InspectCheckpoint(files, command.paths[0],
                                       {.json = command.json,
                                        .tensors = command.tensors,
                                        .threads = command.threads},
                                       progress));
    case Action::kVerify:
      return Verify(files, command, progress);
    case Action::kDiff:
      return Diff(files, command, progress);
    case Action::kExport:
      return Outcome(Export(files, command, progress));
  }
  return {};
}

}  // namespace moe
