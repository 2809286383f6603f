// How the weights of a step become durable
//
//   1. Rank 0 sees that step_N/ is not there, removes what a crash may have
//      left of step_N.tmp/ and makes it anew. All ranks agree.
//   2. All ranks go through the parameters by name, past the experts of other
//      ranks. The ranks that hold a parameter assemble it on its writer, a
//      piece of at most 64 MiB at a time (TensorAssembler), and the writer
//      appends the piece to its file in step_N.tmp/. A rank whose disk refuses
//      remembers the error and goes on gathering, for the others wait for it.
//   3. Every file is synced and closed. Rank 0 does the same with the index
//      and the model's files. All ranks agree: now all files are durable, or
//      the save has failed and no rank has a file open.
//   4. Rank 0 syncs step_N.tmp/, renames it to step_N/ and syncs the directory
//      above. All ranks agree.
//
// After a failure rank 0 removes step_N.tmp/, and step_N/ if it was renamed but
// the name could not be made durable: who is told of a failure must not find a
// checkpoint. A rank or fabric lost in step 2 leaves step_N.tmp/ behind, since
// others may still be writing; readers pass over the name.

#include "trainer/checkpoint/weights_saver.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/process_groups.h"
#include "comm/status_macros.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/checkpoint/hf_config.h"
#include "trainer/checkpoint/safetensors.h"

namespace moe {
namespace {

// The files of one rank, one open at a time.
class RankFiles {
 public:
  RankFiles(FileSystem& files, const std::string& directory,
            const WeightsPlan& plan, const ParameterTable& table)
      : files_(files), directory_(directory), plan_(plan), table_(table) {}

  // The next elements of a parameter, in the order of the plan.
  absl::Status Append(int parameter, absl::Span<const float> values) {
    const int file = plan_.file_of_parameter[static_cast<size_t>(parameter)];
    if (file != current_) {
      RETURN_IF_ERROR(Finish());
      RETURN_IF_ERROR(Begin(file));
    }
    return writer_->Append(Get(parameter).name, values);
  }

  // Makes the open file durable.
  absl::Status Finish() {
    if (writer_ == nullptr) return absl::OkStatus();
    RETURN_IF_ERROR(writer_->Finish());
    writer_.reset();
    return absl::OkStatus();
  }

 private:
  const Parameter& Get(int parameter) const {
    return table_.parameters()[static_cast<size_t>(parameter)];
  }

  absl::Status Begin(int file) {
    const WeightsFile& planned = plan_.files[static_cast<size_t>(file)];
    std::vector<StoredTensor> tensors;
    for (int index : planned.parameters) {
      StoredTensor& tensor = tensors.emplace_back();
      tensor.name = Get(index).name;
      tensor.shape.assign(Get(index).shape.begin(), Get(index).shape.end());
    }
    ASSIGN_OR_RETURN(writer_, SafetensorsWriter::Create(
                                  files_, JoinPath(directory_, planned.name),
                                  std::move(tensors)));
    current_ = file;
    return absl::OkStatus();
  }

  FileSystem& files_;
  const std::string& directory_;
  const WeightsPlan& plan_;
  const ParameterTable& table_;
  std::unique_ptr<SafetensorsWriter> writer_;
  int current_ = -1;
};

}  // namespace

std::vector<NamedFile> ModelFiles(const ModelConfig& model,
                                  const RouterConfig& router,
                                  int64_t sequence_length,
                                  const Tokenizer* tokenizer, bool add_bos) {
  HuggingFaceConfig config =
      MakeHuggingFaceConfig(model, router, sequence_length);
  std::vector<NamedFile> files;
  if (tokenizer != nullptr) {
    config.bos_id = tokenizer->bos_id();
    config.eos_id = tokenizer->eos_id();
    files = HuggingFaceTokenizerFiles(*tokenizer, add_bos);
  }
  files.push_back({kConfigFile, ConfigJson(config)});
  files.push_back({kGenerationConfigFile, GenerationConfigJson(config)});
  return files;
}

WeightsSaver::WeightsSaver(const Environment& environment,
                           const Options& options)
    : environment_(environment),
      max_piece_bytes_(options.max_piece_bytes),
      plan_(PlanWeights(environment.table, environment.mesh, options.plan)) {}

absl::StatusOr<std::string> WeightsSaver::Save(
    const std::string& directory, int64_t step,
    const std::vector<NamedFile>& model_files, MasterWeights& masters) {
  const std::string final = JoinPath(directory, StepDirectoryName(step));
  const std::string temporary = absl::StrCat(final, ".tmp");
  absl::Status status = Prepare(directory, final, temporary);
  absl::StatusOr<std::unique_ptr<TensorAssembler>> tensors =
      TensorAssembler::Create(environment_.table, environment_.groups, masters,
                              max_piece_bytes_ / SizeOf(DType::kFloat32));
  if (status.ok()) status = tensors.status();
  status = AgreeOnStatus(status, world());
  if (status.ok()) {
    RETURN_IF_ERROR(WriteWeights(temporary, **tensors, status));
    if (status.ok()) status = WriteModelFiles(temporary, model_files);
    status = AgreeOnStatus(status, world());
  }
  if (status.ok())
    status = AgreeOnStatus(Commit(directory, final, temporary), world());
  if (status.ok()) return final;
  if (world().rank() == 0) environment_.files.Remove(temporary).IgnoreError();
  return status;
}

// Step 1.
absl::Status WeightsSaver::Prepare(const std::string& directory,
                                   const std::string& final,
                                   const std::string& temporary) {
  if (world().rank() != 0) return absl::OkStatus();
  FileSystem& files = environment_.files;
  if (files.Exists(final))
    return absl::AlreadyExistsError(absl::StrCat(final, " is there already"));
  RETURN_IF_ERROR(files.Remove(temporary));
  RETURN_IF_ERROR(files.MakeDirectories(temporary));
  // `directory` itself may be new.
  return files.SyncDirectory(JoinPath(directory, ".."));
}

// Step 2. `disk` takes the first error of this rank's files; any other error
// means that the ranks cannot go on together.
absl::Status WeightsSaver::WriteWeights(const std::string& temporary,
                                        TensorAssembler& tensors,
                                        absl::Status& disk) {
  const ParameterTable& table = environment_.table;
  RankFiles files(environment_.files, temporary, plan_, table);
  for (int index : plan_.order) {
    const size_t i = static_cast<size_t>(index);
    const Parameter& parameter = table.parameters()[i];
    if (!parameter.local) continue;
    const size_t file = static_cast<size_t>(plan_.file_of_parameter[i]);
    const int writer = plan_.files[file].rank;
    const int64_t rows_at_once = tensors.RowsAtOnce(parameter);
    for (int64_t row = 0; row < parameter.shape[0]; row += rows_at_once) {
      const int64_t num_rows = std::min(rows_at_once, parameter.shape[0] - row);
      ASSIGN_OR_RETURN(const absl::Span<const float> values,
                       tensors.Assemble(parameter, row, num_rows, writer));
      if (!values.empty() && disk.ok()) disk = files.Append(index, values);
    }
  }
  if (disk.ok()) disk = files.Finish();
  return absl::OkStatus();
}

// Step 3.
absl::Status WeightsSaver::WriteModelFiles(
    const std::string& temporary, const std::vector<NamedFile>& model_files) {
  if (world().rank() != 0) return absl::OkStatus();
  for (const NamedFile& file : model_files) {
    RETURN_IF_ERROR(WriteDurably(
        environment_.files, JoinPath(temporary, file.name), file.contents));
  }
  return WriteDurably(environment_.files,
                      JoinPath(temporary, kWeightsIndexFile),
                      WeightsIndexJson(plan_, environment_.table));
}

// Step 4.
absl::Status WeightsSaver::Commit(const std::string& directory,
                                  const std::string& final,
                                  const std::string& temporary) {
  if (world().rank() != 0) return absl::OkStatus();
  FileSystem& files = environment_.files;
  RETURN_IF_ERROR(files.SyncDirectory(temporary));
  RETURN_IF_ERROR(files.Rename(temporary, final));
  const absl::Status synced = files.SyncDirectory(directory);
  if (!synced.ok()) files.Remove(final).IgnoreError();  // synced is the news
  return synced;
}

}  // namespace moe
