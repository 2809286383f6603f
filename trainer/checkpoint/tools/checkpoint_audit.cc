#include "trainer/checkpoint/tools/checkpoint_audit.h"

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/parallel_tasks.h"
#include "trainer/checkpoint/store/source_words.h"
#include "trainer/checkpoint/store/stored_checkpoint.h"
#include "trainer/checkpoint/store/weight_values.h"
#include "trainer/checkpoint/tools/checkpoint_list.h"

namespace moe {
namespace {

// A directory that only moe-train makes: without manifest it is incomplete.
bool LooksLikeOurs(const std::string& path,
                   const std::vector<std::string>& names) {
  if (StepOfDirectory(path.substr(path.find_last_of('/') + 1)).has_value())
    return true;
  for (const std::string& name : names)
    if (name == kTrainConfigFile || absl::StartsWith(name, kStateFilePrefix))
      return true;
  return false;
}

// Weights or state that the manifest does not know: a loader would take some
// of them instead of those that it knows.
void FindUnlisted(const std::vector<std::string>& names,
                  const CheckpointManifest& manifest,
                  std::vector<std::string>& problems) {
  std::set<std::string> known;
  for (const CheckpointManifest::File& file : manifest.file())
    known.insert(file.name());
  for (const std::string& name : names) {
    const bool counts =
        absl::EndsWith(name, ".safetensors") || name == kWeightsIndexFile;
    if (counts && known.count(name) == 0)
      problems.push_back(absl::StrCat(name, " is not in the manifest"));
  }
}

absl::Status AuditFiles(FileSystem& files, int threads,
                        const ProgressFunction& progress,
                        CheckpointAudit& audit) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   files.List(audit.path));
  audit.has_manifest = files.Exists(JoinPath(audit.path, kManifestFile));
  if (!audit.has_manifest) {
    if (LooksLikeOurs(audit.path, names))
      audit.problems.push_back(absl::StrCat(kManifestFile, " is missing"));
    return absl::OkStatus();
  }
  const auto manifest = LoadManifest(files, audit.path);
  if (absl::IsUnimplemented(manifest.status())) return manifest.status();
  if (!manifest.ok()) {
    audit.problems.push_back(
        WithoutDirectory(manifest.status().message(), audit.path));
    return absl::OkStatus();
  }
  audit.step = manifest->step();
  audit.num_files = manifest->file_size();
  for (const CheckpointManifest::File& file : manifest->file())
    audit.num_bytes += file.num_bytes();
  const auto step =
      StepOfDirectory(audit.path.substr(audit.path.find_last_of('/') + 1));
  if (step.has_value() && *step != manifest->step()) {
    audit.problems.push_back(
        absl::StrCat(kManifestFile, " is of another step, ", manifest->step()));
  }
  for (std::string& problem :
       DigestProblems(files, audit.path,
                      {manifest->file().begin(), manifest->file().end()},
                      threads, progress))
    audit.problems.push_back(std::move(problem));
  FindUnlisted(names, *manifest, audit.problems);
  return absl::OkStatus();
}

std::string NotFiniteText(absl::string_view what, const ElementsScan& scan) {
  return absl::StrCat(what, " has ", scan.num_not_finite,
                      " values that are not finite, the first at element ",
                      scan.first_not_finite);
}

// What is wrong with the values of one tensor and its moments.
absl::StatusOr<std::vector<std::string>> ScanTensor(
    const StoredCheckpoint& stored, const Parameter& parameter) {
  std::vector<std::string> problems;
  ASSIGN_OR_RETURN(
      const ElementsScan weights,
      ScanElements(parameter.size, [&](int64_t begin, absl::Span<float> out) {
        return stored.weights->LoadParameter(parameter.name, begin, out);
      }));
  if (weights.num_not_finite > 0)
    problems.push_back(NotFiniteText(parameter.name, weights));
  if (stored.moments == nullptr) return problems;
  for (const OptimizerState& state : kOptimizerStates) {
    const std::string what =
        absl::StrCat("the ", state.name, " of ", parameter.name);
    ASSIGN_OR_RETURN(
        const ElementsScan scan,
        ScanElements(parameter.size, [&](int64_t begin, absl::Span<float> out) {
          return stored.moments->Load(parameter.name, state.name,
                                      parameter.num_columns(), begin, out);
        }));
    if (scan.num_not_finite > 0) problems.push_back(NotFiniteText(what, scan));
    if (!state.can_be_negative && scan.num_negative > 0) {
      problems.push_back(
          absl::StrCat(what, " has ", scan.num_negative, " negative values"));
    }
  }
  return problems;
}

absl::Status AuditValues(const StoredCheckpoint& stored,
                         const ParameterTable& table, int threads,
                         const ProgressFunction& progress,
                         CheckpointAudit& audit) {
  const auto parameters = table.parameters();
  int64_t elements = 0;
  for (const Parameter& parameter : parameters) elements += parameter.size;
  SharedProgress shared(
      progress, absl::StrCat("reading the tensors of ", audit.path), elements);
  std::vector<std::vector<std::string>> found(parameters.size());
  RETURN_IF_ERROR(RunTasks(threads, static_cast<int64_t>(parameters.size()),
                           [&](int64_t i) {
                             const size_t index = static_cast<size_t>(i);
                             absl::StatusOr<std::vector<std::string>> problems =
                                 ScanTensor(stored, parameters[index]);
                             if (problems.ok())
                               found[index] = *std::move(problems);
                             shared.Add(parameters[index].size);
                             return problems.status();
                           }));
  for (const std::vector<std::string>& problems : found)
    audit.problems.insert(audit.problems.end(), problems.begin(),
                          problems.end());
  return absl::OkStatus();
}

absl::Status AuditStructure(FileSystem& files, int threads,
                            const ProgressFunction& progress,
                            CheckpointAudit& audit) {
  ASSIGN_OR_RETURN(const StoredCheckpoint stored,
                   OpenStoredCheckpoint(files, audit.path));
  RETURN_IF_ERROR(CheckTrainedModel(files, stored.path, stored.config));
  const ParameterTable table = WholeTable(stored.config.model);
  RETURN_IF_ERROR(stored.weights->Check(table));
  RETURN_IF_ERROR(CheckSpareTensors(*stored.weights, stored.config.model));
  audit.num_tensors = static_cast<int>(table.parameters().size());
  audit.has_moments = stored.moments != nullptr;
  if (audit.has_manifest && !audit.has_moments)
    return absl::DataLossError("optimizer state is missing");
  if (audit.has_moments) RETURN_IF_ERROR(stored.moments->Check(table));
  return AuditValues(stored, table, threads, progress, audit);
}

// What an error of the structure means, where no file was changed.
CheckpointAudit::Trouble TroubleOf(const absl::Status& structure,
                                   const absl::Status& config) {
  if (absl::IsUnimplemented(structure)) return CheckpointAudit::Trouble::kNewer;
  if (absl::IsFailedPrecondition(config))
    return CheckpointAudit::Trouble::kNotRead;
  return absl::IsNotFound(structure) ? CheckpointAudit::Trouble::kNotThere
                                     : CheckpointAudit::Trouble::kDamaged;
}

}  // namespace

absl::string_view Name(CheckpointAudit::Trouble trouble) {
  switch (trouble) {
    case CheckpointAudit::Trouble::kDamaged:
      return "damaged";
    case CheckpointAudit::Trouble::kNotThere:
      return "not there";
    case CheckpointAudit::Trouble::kNewer:
      return "newer than this program";
    case CheckpointAudit::Trouble::kNotRead:
      return "of a kind that is not read";
  }
  return "";
}

std::vector<std::string> DigestProblems(
    FileSystem& files, const std::string& directory,
    const std::vector<CheckpointManifest::File>& listed, int threads,
    const ProgressFunction& progress) {
  int64_t total = 0;
  for (const CheckpointManifest::File& file : listed) total += file.num_bytes();
  SharedProgress shared(progress, absl::StrCat("verifying ", directory), total);
  std::vector<absl::Status> results(listed.size());
  const absl::Status status =
      RunTasks(threads, static_cast<int64_t>(listed.size()), [&](int64_t i) {
        const CheckpointManifest::File& file = listed[static_cast<size_t>(i)];
        absl::Status& result = results[static_cast<size_t>(i)];
        result = CheckSize(files, directory, file);
        if (result.ok()) result = VerifyFile(files, directory, file);
        shared.Add(file.num_bytes());
        return absl::OkStatus();
      });
  CHECK(status.ok());
  std::vector<std::string> problems;
  for (const absl::Status& result : results) {
    if (!result.ok())
      problems.push_back(WithoutDirectory(result.message(), directory));
  }
  return problems;
}

absl::Status VerifyAsWritten(FileSystem& files, const std::string& directory,
                             Verified what, int threads,
                             const ProgressFunction& progress) {
  if (!files.Exists(JoinPath(directory, kManifestFile)))
    return absl::OkStatus();
  ASSIGN_OR_RETURN(const CheckpointManifest manifest,
                   LoadManifest(files, directory));
  std::vector<CheckpointManifest::File> listed = FilesBesideState(manifest);
  if (what == Verified::kWeightsAndMoments)
    listed.assign(manifest.file().begin(), manifest.file().end());
  const std::vector<std::string> problems =
      DigestProblems(files, directory, listed, threads, progress);
  if (problems.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(directory, ": ", problems.front()));
}

absl::StatusOr<CheckpointAudit> AuditCheckpoint(
    FileSystem& files, const std::string& path, int threads,
    const ProgressFunction& progress) {
  CheckpointAudit audit;
  ASSIGN_OR_RETURN(audit.path, LocateCheckpoint(files, path));
  RETURN_IF_ERROR(AuditFiles(files, threads, progress, audit));
  if (!audit.problems.empty()) return audit;
  const absl::Status structure =
      AuditStructure(files, threads, progress, audit);
  if (structure.ok()) return audit;
  audit.trouble =
      TroubleOf(structure, ReadModelConfig(files, audit.path).status());
  audit.problems.push_back(
      audit.trouble == CheckpointAudit::Trouble::kNotThere
          ? std::string(structure.message())
          : WithoutDirectory(structure.message(), audit.path));
  return audit;
}

}  // namespace moe
