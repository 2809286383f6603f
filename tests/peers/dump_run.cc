// What transformers is to compare with, computed by us from a finished run:
//
//   dump_run RUN_DIRECTORY SHARE_DIRECTORY OUT_DIRECTORY
//
//   OUT/step_00000000/        the run's initial weights
//   OUT/batches.safetensors   "tokens" I32 [steps, g, L + 1], the run's batches
//   OUT/logits.safetensors    "tokens" I32 [B, L] and "logits" F32 [B, L, V]
//                             by the run's saved weights
//   OUT/texts.json            texts, their ids and what they decode to
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "comm/process_groups.h"
#include "data/corpus.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/safetensors.h"
#include "trainer/checkpoint/store/batch_file.h"
#include "trainer/checkpoint/store/checkpoint_saver.h"
#include "trainer/checkpoint/store/weights_loader.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/config_text.h"
#include "trainer/step/trainer.h"

namespace moe {
namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;
constexpr int64_t kLogitSequences = 3;

// A run, opened again by one rank.
struct Run {
  std::string directory;
  TrainConfig config;
  std::unique_ptr<Corpus> corpus;
  Mesh mesh = *Mesh::Create(1, 1, 1, 1);
  ProcessGroups groups = ProcessGroups::CreateSingle();
  std::unique_ptr<Kernels> kernels = MakeCpuKernels(2);
  std::unique_ptr<Trainer> trainer;
};

absl::Status Open(Run& run, const std::string& share_directory) {
  ASSIGN_OR_RETURN(
      const std::string text,
      PosixFileSystem().ReadFile(JoinPath(run.directory, "config.textproto"),
                                 kMaxConfigBytes));
  ASSIGN_OR_RETURN(run.config, ParseConfig(text, "config.textproto"));
  ASSIGN_OR_RETURN(
      run.corpus,
      Corpus::Open({.config = run.config.data(),
                    .vocab_size = run.config.model().vocab_size(),
                    .sequence_length = run.config.batch().sequence_length(),
                    .seed = run.config.run().seed(),
                    .cache_directory = JoinPath(run.directory, "data"),
                    .share_directory = share_directory,
                    .threads = 1}));
  ASSIGN_OR_RETURN(
      run.mesh, Mesh::Create(1, 1, 1, run.config.model().num_local_experts()));
  ASSIGN_OR_RETURN(run.trainer,
                   Trainer::Create(run.config, {.mesh = run.mesh,
                                                .groups = run.groups,
                                                .kernels = *run.kernels,
                                                .train = run.corpus->train()}));
  return absl::OkStatus();
}

absl::Status DumpInitialWeights(Run& run, const std::string& out) {
  ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointSaver> saver,
                   CheckpointSaver::Create(PosixFileSystem(),
                                           {.table = run.trainer->table(),
                                            .mesh = run.mesh,
                                            .groups = run.groups,
                                            .state = run.trainer->optimizer()},
                                           {}));
  return saver
      ->Save(out, CheckpointManifest(),
             ModelFiles(run.config.model(), run.config.router(),
                        run.config.batch().sequence_length(),
                        run.corpus->tokenizer(), run.config.data().add_bos()))
      .status();
}

absl::Status DumpLogits(Run& run, const std::string& out) {
  FileSystem& files = PosixFileSystem();
  ASSIGN_OR_RETURN(const std::string checkpoint,
                   FindCheckpoint(files, run.directory));
  ASSIGN_OR_RETURN(const std::unique_ptr<WeightsLoader> loader,
                   WeightsLoader::Open(files, checkpoint));
  const ParameterTable& table = run.trainer->table();
  RETURN_IF_ERROR(loader->Check(table));
  RETURN_IF_ERROR(LoadWeights(*loader, table, run.trainer->weights()));

  const int64_t length = run.config.batch().sequence_length();
  const int64_t vocabulary = run.config.model().vocab_size();
  const int64_t rows = kLogitSequences * length;
  std::vector<int32_t> tokens(static_cast<size_t>(rows));
  std::vector<int32_t> targets(static_cast<size_t>(length));
  for (int64_t b = 0; b < kLogitSequences; ++b) {
    RETURN_IF_ERROR(run.corpus->train().Read(
        b,
        absl::MakeSpan(tokens).subspan(static_cast<size_t>(b * length),
                                       static_cast<size_t>(length)),
        absl::MakeSpan(targets), /*positions=*/{}));
  }
  std::vector<float> logits(static_cast<size_t>(rows * vocabulary));
  Arena scratch;
  Pass pass(scratch);
  RETURN_IF_ERROR(run.trainer->model().Logits(
      pass, Tensor(logits.data(), {rows, vocabulary}, DType::kFloat32),
      Tensor(tokens.data(), {rows}, DType::kInt32), length, /*first_row=*/0,
      BindWeights(run.config.model(), table, run.trainer->weights())));

  const auto size = [](int64_t n) { return static_cast<uint64_t>(n); };
  StoredTensor logits_entry;
  logits_entry.name = "logits";
  logits_entry.shape = {size(kLogitSequences), size(length), size(vocabulary)};
  StoredTensor tokens_entry;
  tokens_entry.name = "tokens";
  tokens_entry.dtype = StoredDType::kI32;
  tokens_entry.shape = {size(kLogitSequences), size(length)};
  ASSIGN_OR_RETURN(
      std::unique_ptr<SafetensorsWriter> writer,
      SafetensorsWriter::Create(files, JoinPath(out, "logits.safetensors"),
                                {logits_entry, tokens_entry}));
  RETURN_IF_ERROR(writer->Append("logits", logits));
  RETURN_IF_ERROR(writer->AppendBytes(
      "tokens", absl::string_view(reinterpret_cast<const char*>(tokens.data()),
                                  tokens.size() * sizeof(int32_t))));
  return writer->Finish();
}

absl::Status DumpTexts(const Run& run, const std::string& out) {
  const Tokenizer& tokenizer = *run.corpus->tokenizer();
  nlohmann::json texts = nlohmann::json::array();
  for (const std::string text :
       {"In the beginning God created the heaven and the earth.",
        "  Two  spaces   and\ta tab", "line one\nline two\r\n", "1234567890",
        "na\xc3\xafve caf\xc3\xa9 \xe2\x80\x94 \xf0\x9f\xa4\x97\xf0\x9f\x91"
        "\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80",
        "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d \xe4\xb8\x96\xe7\x95\x8c", "x",
        " leading and trailing "}) {
    std::vector<int32_t> ids;
    tokenizer.Encode(text, ids);
    texts.push_back({{"text", text}, {"ids", ids}});
  }
  return WriteFileAtomically(PosixFileSystem(), JoinPath(out, "texts.json"),
                             texts.dump(1));
}

absl::Status Dump(const std::string& directory,
                  const std::string& share_directory, const std::string& out) {
  Run run;
  run.directory = directory;
  RETURN_IF_ERROR(Open(run, share_directory));
  RETURN_IF_ERROR(PosixFileSystem().MakeDirectories(out));
  RETURN_IF_ERROR(DumpInitialWeights(run, out));
  RETURN_IF_ERROR(
      WriteBatches(PosixFileSystem(), JoinPath(out, "batches.safetensors"),
                   run.corpus->train(),
                   {.num_steps = StepsOf(run.config),
                    .global_size = run.config.batch().global_size(),
                    .length = run.config.batch().sequence_length()}));
  RETURN_IF_ERROR(DumpTexts(run, out));
  return DumpLogits(run, out);
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: dump_run RUN_DIRECTORY SHARE_DIRECTORY OUT_DIRECTORY\n",
               stderr);
    return 64;
  }
  const absl::Status status = moe::Dump(argv[1], argv[2], argv[3]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "dump_run: %s\n", status.ToString().c_str());
  return 1;
}
