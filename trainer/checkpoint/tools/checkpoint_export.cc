#include "trainer/checkpoint/tools/checkpoint_export.h"

#include <cmath>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/base/check.h"
#include "comm/base/dtype.h"
#include "comm/base/status_macros.h"
#include "data/storage/temporary_path.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/half.h"
#include "trainer/checkpoint/format/safetensors.h"
#include "trainer/checkpoint/format/weights_index.h"
#include "trainer/checkpoint/store/parallel_tasks.h"
#include "trainer/checkpoint/store/weight_values.h"
#include "trainer/checkpoint/tools/checkpoint_audit.h"

namespace moe {
namespace {

struct Shard {
  std::string name;
  std::vector<StoredTensor> tensors;
};

// The largest finite value of each.
constexpr double kLargestHalf = 65504;
constexpr double kLargestBFloat16 = 0x1.fep127;

template <typename T>
void AppendBits(T bits, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
}

absl::Status DoesNotFit(float value, StoredDType dtype) {
  return absl::FailedPreconditionError(absl::StrFormat(
      "the value %.9g becomes infinite in %s, which ends at %.9g", value,
      HuggingFaceDTypeName(dtype),
      dtype == StoredDType::kF16 ? kLargestHalf : kLargestBFloat16));
}

// The model's tensors in its order, cut where a shard would become too large.
std::vector<Shard> PlanShards(const ParameterTable& table,
                              const ExportOptions& options) {
  const int64_t width = BitsOf(options.dtype) / 8;
  std::vector<Shard> shards;
  int64_t bytes = 0;
  for (const Parameter& parameter : table.parameters()) {
    const int64_t size = parameter.size * width;
    if (shards.empty() || bytes + size > options.max_shard_bytes) {
      shards.emplace_back();
      bytes = 0;
    }
    bytes += size;
    StoredTensor tensor;
    tensor.name = parameter.name;
    tensor.dtype = options.dtype;
    tensor.shape.assign(parameter.shape.begin(), parameter.shape.end());
    shards.back().tensors.push_back(std::move(tensor));
  }
  const int count = static_cast<int>(shards.size());
  for (int i = 0; i < count; ++i)
    shards[static_cast<size_t>(i)].name =
        count == 1 ? kSingleWeightsFile : WeightsFileName(i, count);
  return shards;
}

class Exporter {
 public:
  Exporter(FileSystem& files, const StoredCheckpoint& stored,
           const ExportOptions& options, const ParameterTable& table,
           std::string directory, const ProgressFunction& progress)
      : files_(files),
        stored_(stored),
        options_(options),
        table_(table),
        directory_(std::move(directory)),
        shared_(progress, absl::StrCat("writing ", options.output),
                NumElementsOf(table)) {}

  // All of the directory but its name.
  absl::StatusOr<ExportedCheckpoint> Write() {
    RETURN_IF_ERROR(files_.MakeDirectories(directory_));
    RETURN_IF_ERROR(WriteConfig());
    RETURN_IF_ERROR(Copy(kGenerationConfigFile));
    for (const char* name : kTokenizerFiles) RETURN_IF_ERROR(Copy(name));
    for (const char* name : kMoreTokenizerFiles) RETURN_IF_ERROR(Copy(name));
    ExportedCheckpoint exported;
    std::map<std::string, std::string> file_of_tensor;
    const std::vector<Shard> shards = PlanShards(table_, options_);
    RETURN_IF_ERROR(RunTasks(
        options_.threads, static_cast<int64_t>(shards.size()),
        [&](int64_t i) { return WriteShard(shards[static_cast<size_t>(i)]); }));
    for (const Shard& shard : shards) {
      exported.weight_files.push_back(shard.name);
      for (const StoredTensor& tensor : shard.tensors)
        file_of_tensor[tensor.name] = shard.name;
    }
    exported.num_tensors = static_cast<int64_t>(file_of_tensor.size());
    exported.num_bytes = NumElementsOf(table_) * BitsOf(options_.dtype) / 8;
    if (exported.weight_files.size() > 1) {
      RETURN_IF_ERROR(
          WriteDurably(files_, JoinPath(directory_, kWeightsIndexFile),
                       WeightsIndexText(exported.num_bytes, file_of_tensor)));
    }
    RETURN_IF_ERROR(files_.SyncDirectory(directory_));
    return exported;
  }

 private:
  static int64_t NumElementsOf(const ParameterTable& table) {
    int64_t total = 0;
    for (const Parameter& parameter : table.parameters())
      total += parameter.size;
    return total;
  }

  absl::Status WriteConfig() {
    std::string text;
    RETURN_IF_ERROR(ReadModelConfig(files_, stored_.path, &text).status());
    return WriteDurably(
        files_, JoinPath(directory_, kConfigFile),
        WithWeightsDType(text, HuggingFaceDTypeName(options_.dtype)));
  }

  absl::Status Copy(const std::string& name) {
    const std::string from = JoinPath(stored_.path, name);
    if (!files_.Exists(from)) return absl::OkStatus();
    ASSIGN_OR_RETURN(const int64_t size, files_.FileSize(from));
    ASSIGN_OR_RETURN(const std::string contents, files_.ReadFile(from, size));
    return WriteDurably(files_, JoinPath(directory_, name), contents);
  }

  absl::Status WriteShard(const Shard& shard) {
    ASSIGN_OR_RETURN(
        const std::unique_ptr<SafetensorsWriter> writer,
        SafetensorsWriter::Create(files_, JoinPath(directory_, shard.name),
                                  shard.tensors));
    for (const StoredTensor& tensor : writer->tensors()) {
      const Parameter& parameter =
          table_.parameters()[static_cast<size_t>(table_.Find(tensor.name))];
      RETURN_IF_ERROR(WriteTensor(parameter, *writer));
      shared_.Add(parameter.size);
    }
    return writer->Finish();
  }

  // Of elements from `begin` on.
  absl::Status CheckFinite(const Parameter& parameter, int64_t begin,
                           absl::Span<const float> values) const {
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isfinite(values[i])) continue;
      return absl::DataLossError(
          absl::StrCat(stored_.path, ": ",
                       FirstNotFiniteText(parameter.name, values[i],
                                          begin + static_cast<int64_t>(i))));
    }
    return absl::OkStatus();
  }

  absl::Status WriteTensor(const Parameter& parameter,
                           SafetensorsWriter& writer) {
    std::string bytes;
    int64_t done = 0;
    return ReadInPieces(
        parameter.size,
        [&](int64_t begin, absl::Span<float> out) {
          return stored_.weights->LoadParameter(parameter.name, begin, out);
        },
        [&](absl::Span<const float> piece) -> absl::Status {
          RETURN_IF_ERROR(CheckFinite(parameter, done, piece));
          done += static_cast<int64_t>(piece.size());
          bytes.clear();
          const absl::Status rounded =
              AppendRounded(piece, options_.dtype, bytes);
          if (!rounded.ok()) return Annotate(rounded, parameter.name);
          return writer.AppendBytes(parameter.name, bytes);
        });
  }

  FileSystem& files_;
  const StoredCheckpoint& stored_;
  const ExportOptions& options_;
  const ParameterTable& table_;
  const std::string directory_;
  SharedProgress shared_;
};

absl::Status RefuseExisting(FileSystem& files, const std::string& output) {
  if (files.Exists(output))
    return absl::AlreadyExistsError(absl::StrCat(
        "--output is ", output, ", which exists: name a new directory"));
  const std::string temporary = absl::StrCat(output, kTemporarySuffix);
  if (files.Exists(temporary))
    return absl::AlreadyExistsError(
        absl::StrCat(temporary,
                     " exists, of an export that is under way or was ended: "
                     "remove it or name another directory"));
  return absl::OkStatus();
}

}  // namespace

absl::string_view HuggingFaceDTypeName(StoredDType dtype) {
  if (dtype == StoredDType::kBF16) return "bfloat16";
  return dtype == StoredDType::kF16 ? "float16" : "float32";
}

absl::Status AppendRounded(absl::Span<const float> values, StoredDType dtype,
                           std::string& bytes) {
  for (const float value : values) {
    float rounded = value;
    if (dtype == StoredDType::kF32) {
      AppendBits(value, bytes);
    } else if (dtype == StoredDType::kBF16) {
      const BFloat16 bits = ToBFloat16(value);
      AppendBits(bits.bits, bytes);
      rounded = ToFloat(bits);
    } else {
      CHECK(dtype == StoredDType::kF16);
      const uint16_t bits = FloatToHalf(value);
      AppendBits(bits, bytes);
      rounded = HalfToFloat(bits);
    }
    if (std::isinf(rounded) && !std::isinf(value))
      return DoesNotFit(value, dtype);
  }
  return absl::OkStatus();
}

absl::StatusOr<ExportedCheckpoint> ExportCheckpoint(
    FileSystem& files, const StoredCheckpoint& stored,
    const ExportOptions& options, const ProgressFunction& progress) {
  RETURN_IF_ERROR(RefuseExisting(files, options.output));
  const ParameterTable table = WholeTable(stored.config.model);
  RETURN_IF_ERROR(stored.weights->Check(table));
  RETURN_IF_ERROR(VerifyAsWritten(files, stored.path, Verified::kWeights,
                                  options.threads, progress));
  RETURN_IF_ERROR(CheckSpareTensors(*stored.weights, stored.config.model));
  TemporaryPath temporary(files,
                          absl::StrCat(options.output, kTemporarySuffix));
  Exporter exporter(files, stored, options, table, temporary.path(), progress);
  ASSIGN_OR_RETURN(const ExportedCheckpoint exported, exporter.Write());
  RETURN_IF_ERROR(temporary.RenameTo(options.output));
  RETURN_IF_ERROR(files.SyncDirectory(ParentOf(options.output)));
  return exported;
}

}  // namespace moe
