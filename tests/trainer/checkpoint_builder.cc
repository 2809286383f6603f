#include "tests/trainer/checkpoint_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/hf_config.h"
#include "trainer/checkpoint/format/safetensors.h"
#include "trainer/checkpoint/format/state_piece.h"
#include "trainer/checkpoint/store/stored_checkpoint.h"
#include "trainer/config/config_text.h"

namespace moe {
namespace {

// Exact in bfloat16 and half.
std::vector<float> Values(int64_t size, int first) {
  std::vector<float> values;
  for (int64_t i = 0; i < size; ++i)
    values.push_back(static_cast<float>((first + i) % 127) / 64);
  return values;
}

struct Entry {
  StoredTensor tensor;
  absl::Span<const float> values;
};

void WriteSafetensors(const std::string& path,
                      const std::vector<Entry>& entries) {
  std::vector<StoredTensor> tensors;
  std::map<std::string, absl::Span<const float>> values;
  for (const Entry& entry : entries) {
    tensors.push_back(entry.tensor);
    values[entry.tensor.name] = entry.values;
  }
  auto writer = SafetensorsWriter::Create(PosixFileSystem(), path, tensors);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const StoredTensor& tensor : (*writer)->tensors())
    ASSERT_TRUE((*writer)->Append(tensor.name, values[tensor.name]).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
}

void AddPieces(const Parameter& parameter, const std::string& state,
               const std::vector<float>& values, int64_t most,
               std::vector<Entry>& entries) {
  const int64_t size = static_cast<int64_t>(values.size());
  for (int64_t begin = 0; begin < size; begin += most) {
    const int64_t count = std::min(most, size - begin);
    Entry entry;
    entry.tensor.name = PieceName({.parameter = parameter.name,
                                   .state = state,
                                   .slice = parameter.slice,
                                   .begin = begin,
                                   .count = count});
    entry.tensor.shape = {static_cast<uint64_t>(count)};
    entry.values = absl::MakeConstSpan(values).subspan(
        static_cast<size_t>(begin), static_cast<size_t>(count));
    entries.push_back(entry);
  }
}

}  // namespace

CheckpointBuilder::CheckpointBuilder(int vocab_size) {
  ModelConfig& model = *config.mutable_model();
  model.set_vocab_size(vocab_size);
  model.set_hidden_size(8);
  model.set_intermediate_size(6);
  model.set_num_hidden_layers(2);
  model.set_num_attention_heads(2);
  model.set_num_key_value_heads(1);
  model.set_num_local_experts(4);
  model.set_num_experts_per_tok(2);
  config.mutable_batch()->set_sequence_length(16);
  manifest.set_version(kManifestVersion);
  manifest.set_step(7);
  manifest.set_consumed_samples(28);
  manifest.set_ranks(4);
  manifest.set_tensor_parallel(1);
  manifest.set_expert_parallel(4);
  manifest.set_valid_loss(3.25);
  int first = 0;
  const ParameterTable table = Table();
  for (const Parameter& parameter : table.parameters()) {
    weights[parameter.name] = Values(parameter.size, first++);
    first_moments[parameter.name] = Values(parameter.size, first++);
    second_moments[parameter.name] = Values(parameter.size, first++);
  }
}

ParameterTable CheckpointBuilder::Table() const {
  return WholeTable(config.model());
}

void CheckpointBuilder::WriteFiles(const std::string& directory) const {
  FileSystem& files = PosixFileSystem();
  ASSERT_TRUE(files.MakeDirectories(directory).ok());
  std::vector<Entry> entries;
  std::vector<Entry> pieces;
  const ParameterTable table = Table();
  for (const Parameter& parameter : table.parameters()) {
    const auto found = weights.find(parameter.name);
    if (found == weights.end()) continue;
    Entry entry;
    entry.tensor.name = parameter.name;
    entry.tensor.shape.assign(parameter.shape.begin(), parameter.shape.end());
    entry.values = found->second;
    entries.push_back(entry);
    if (first_moments.count(parameter.name) == 0) continue;
    AddPieces(parameter, kFirstMoment, first_moments.at(parameter.name),
              piece_elements, pieces);
    AddPieces(parameter, kSecondMoment, second_moments.at(parameter.name),
              piece_elements, pieces);
  }
  WriteSafetensors(JoinPath(directory, kSingleWeightsFile), entries);
  if (!pieces.empty())
    WriteSafetensors(JoinPath(directory, StateFileName(0, 1)), pieces);
  const auto write = [&](const char* name, const std::string& text) {
    ASSERT_TRUE(WriteDurably(files, JoinPath(directory, name), text).ok());
  };
  write(kConfigFile, ConfigJson(MakeHuggingFaceConfig(
                         WithDefaults(config).model(), config.router(),
                         config.batch().sequence_length())));
  write(kGenerationConfigFile, "{}\n");
  write(kTokenizerFile, "pieces");
  write(kTrainConfigFile, PrintConfig(config));
}

void CheckpointBuilder::Write(const std::string& directory) const {
  WriteFiles(directory);
  WriteManifest(directory, manifest);
}

void CheckpointBuilder::WriteManifest(const std::string& directory,
                                      CheckpointManifest manifest) {
  FileSystem& files = PosixFileSystem();
  const auto names = files.List(directory);
  ASSERT_TRUE(names.ok());
  for (const std::string& name : *names) {
    if (name == kManifestFile) continue;
    const auto bytes = files.ReadFile(JoinPath(directory, name), 1 << 24);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    CheckpointManifest::File& file = *manifest.add_file();
    file.set_name(name);
    file.set_num_bytes(static_cast<int64_t>(bytes->size()));
    file.set_xxh3(Digest(*bytes));
  }
  ASSERT_TRUE(WriteDurably(files, JoinPath(directory, kManifestFile),
                           ManifestText(manifest))
                  .ok());
}

void FlipBit(const std::string& path, int64_t byte) {
  auto bytes = PosixFileSystem().ReadFile(path, 1 << 24);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  ASSERT_LT(byte, static_cast<int64_t>(bytes->size()));
  char& flipped = (*bytes)[static_cast<size_t>(byte)];
  flipped = static_cast<char>(flipped ^ 1);
  ASSERT_TRUE(WriteDurably(PosixFileSystem(), path, *bytes).ok());
}

}  // namespace moe
