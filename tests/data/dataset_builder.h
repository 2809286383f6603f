#ifndef TESTS_DATA_DATASET_BUILDER_H_
#define TESTS_DATA_DATASET_BUILDER_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/indexed_dataset.h"
#include "data/indexed_dataset_writer.h"

namespace moe {

using Documents = std::vector<std::vector<int32_t>>;

// Documents of these lengths with tokens first, first + 1, ...
inline Documents CountingDocuments(const std::vector<size_t>& lengths,
                                   int32_t first = 10) {
  Documents documents;
  for (const size_t length : lengths) {
    documents.emplace_back();
    while (documents.back().size() < length) {
      documents.back().push_back(first++);
    }
  }
  return documents;
}

inline void WriteDataset(const std::string& prefix,
                         const Documents& documents) {
  auto writer = IndexedDatasetWriter::Create(PosixFileSystem(), prefix,
                                             TokenType::kInt32);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const std::vector<int32_t>& document : documents) {
    ASSERT_TRUE((*writer)->AddDocument(document).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
}

inline std::unique_ptr<IndexedDataset> MakeDataset(const std::string& prefix,
                                                   const Documents& documents) {
  WriteDataset(prefix, documents);
  auto dataset = IndexedDataset::Open(PosixFileSystem(), prefix);
  EXPECT_TRUE(dataset.ok()) << dataset.status();
  return *std::move(dataset);
}

// What a stream of these documents must be, by the plainest means.
inline std::vector<int32_t> Concatenate(const Documents& documents,
                                        int bos_id = -1) {
  std::vector<int32_t> all;
  for (const std::vector<int32_t>& document : documents) {
    if (bos_id >= 0) all.push_back(bos_id);
    all.insert(all.end(), document.begin(), document.end());
  }
  return all;
}

}  // namespace moe

#endif  // TESTS_DATA_DATASET_BUILDER_H_
