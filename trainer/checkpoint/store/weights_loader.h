#ifndef TRAINER_CHECKPOINT_STORE_WEIGHTS_LOADER_H_
#define TRAINER_CHECKPOINT_STORE_WEIGHTS_LOADER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "comm/device_context.h"
#include "data/storage/file_system.h"
#include "moe/parameters/parameter_table.h"
#include "moe/parameters/weights.h"
#include "trainer/checkpoint/format/safetensors.h"

namespace moe {

// The weights of a checkpoint directory, ours or any Hugging Face Mixtral's:
// one file or shards with an index, F32, BF16 or F16, under the classic names
// or under version 5's, which stack an expert layer's matrices:
//
//   model.layers.L.mlp.gate.weight             [E, D]
//   model.layers.L.mlp.experts.gate_up_proj    [E, 2 F, D]: an expert's w1
//                                              rows, then its w3 rows
//   model.layers.L.mlp.experts.down_proj       [E, D, F]: w2
//
// Read by slices of global tensors, so that every rank takes what it holds.
class WeightsLoader {
 public:
  // Reads headers and index, no elements. NotFound: no weights there.
  // DataLoss: a file is damaged, or the index and the files disagree.
  static absl::StatusOr<std::unique_ptr<WeightsLoader>> Open(
      FileSystem& files, const std::string& directory);

  // What is stored, by classic name, in the order of names.
  struct Entry {
    std::string name;
    StoredDType dtype = StoredDType::kF32;
    std::vector<uint64_t> shape;
  };
  std::vector<Entry> Entries() const;

  // FailedPrecondition names tensors that `table` has and the checkpoint lacks,
  // that only the checkpoint has, and that have another shape or no float
  // type. Let pass: PassedOver, and beside tied embeddings a head of their
  // shape, whose elements CheckWeightValues compares.
  absl::Status Check(const ParameterTable& table) const;

  // Tensors that follow from config.json, which other writers store and nobody
  // needs: frequencies, cosines and sines of the rotary embedding.
  std::vector<std::string> PassedOver() const;
  const std::string& directory() const { return directory_; }
  // Of a tensor that is there, by its classic name.
  int64_t NumElements(absl::string_view name) const;
  const std::vector<uint64_t>& ShapeOf(absl::string_view name) const;
  // A head is stored that `table` does not have.
  bool HasSpareHead(const ParameterTable& table) const;

  // out = elements [begin, begin + out.size()) of a tensor that is there, by
  // its classic name. FailedPrecondition: no F32, BF16 or F16.
  absl::Status LoadParameter(absl::string_view name, int64_t begin,
                             absl::Span<float> out) const;

 private:
  // A tensor by its classic name, or the part of a stacked one.
  struct Slice {
    size_t file = 0;
    const StoredTensor* tensor = nullptr;
    int64_t begin = 0;  // element of the stored tensor
    std::vector<uint64_t> shape;
  };

  explicit WeightsLoader(std::string directory)
      : directory_(std::move(directory)) {}

  absl::Status OpenFile(FileSystem& files, const std::string& name);
  absl::Status OpenShards(FileSystem& files);
  absl::Status AddTensor(size_t file, const StoredTensor& tensor);
  absl::Status AddSlice(std::string name, Slice slice);
  absl::Status AddStacked(absl::string_view layer, bool gate_up, Slice whole);

  const std::string directory_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Slice, std::less<>> slices_;
};

// Ends of names of what PassedOver names, as transformers' older versions and
// others write them.
inline constexpr char kFrequenciesEnd[] = "rotary_emb.inv_freq";
inline constexpr char kCosinesEnd[] = "rotary_emb.cos_cached";
inline constexpr char kSinesEnd[] = "rotary_emb.sin_cached";

inline constexpr char kEmbeddingName[] = "model.embed_tokens.weight";
inline constexpr char kHeadName[] = "lm_head.weight";

// Loads every local parameter into `storage`, which lies on the context's
// device, rounded to its dtype.
absl::Status LoadWeights(const WeightsLoader& loader,
                         const ParameterTable& table,
                         const ParameterStorage& storage,
                         DeviceContext& context = CpuContext());

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_WEIGHTS_LOADER_H_
